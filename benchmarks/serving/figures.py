"""Computes the figures of the suite from its measurements, and defines their targets."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

from benchmarks.baselines.bare_model import fastest, of_threads
from benchmarks.harness.targets import Target
from benchmarks.loadgen.recording import Json
from benchmarks.serving.suite import OVERLOAD, Results, Round, StreamRound

FLAT_MIB = 8.0
"""Growth of resident memory that counts as flat, in MiB: less than the fluctuation of the allocator."""


TARGETS = (
    Target("bare_model_tokens_s_1", "bare model, batch 1: tokens/s"),
    Target("bare_model_tokens_s_64", "bare model, batch 64: tokens/s"),
    Target("served_over_bare_model_1", "1 caller over the bare model", at_least=0.60),
    Target("served_over_bare_model_64", "64 callers over the bare model", at_least=0.60),
    Target("served_over_bare_model_64_grpc", "the same with grpc.aio as load generator"),
    Target("served_over_naive_64", "64 callers over the naive server", at_least=8),
    Target("served_256_over_64", "256 callers over 64", at_least=0.95),
    Target("p99_gap_over_step_64", "64 callers: p99 gap over a bare step", at_most=6),
    Target(
        "long_prompt_pause_over_gap", "2,000-token prompt among 32 streams: longest pause over median gap", at_most=10
    ),
    Target("overload_goodput", "3 x capacity: goodput over peak", at_least=0.9),
    Target("overload_refuse_p99_ms", "3 x capacity: p99 ms to refuse", at_most=50),
    Target("overload_rss_growth_mib", "3 x capacity: growth of memory, MiB", at_most=FLAT_MIB),
    Target("cancel_rss_growth_mib", "cancelled streams: growth of memory, MiB", at_most=FLAT_MIB),
    Target("cpu_ms_per_token_64", "64 callers: CPU ms per token of the server"),
    Target("cpu_over_bare_model_64", "the same over the bare model's", at_most=1.8),
    Target("cpu_over_bare_model_64_one_thread", "the same over the bare model's on one thread"),
    Target("python_us_per_token_64", "64 callers: CPU us per token outside the graph"),
    Target("event_loop_us_per_token_64", "of that, on the event loop's thread"),
    Target("engine_us_per_token_64", "of that, on all other threads: the engine and gRPC"),
    Target("client_us_per_message_64", "64 callers: CPU us per message of the load generator"),
    Target("tag_stream_over_echo_64", "64 streams, one token per message: tags/s over a bare gRPC echo", at_least=0.5),
    Target("score_stream_over_echo_64", "the same with scores", at_least=0.5),
    Target("tag_stream_over_echo_64_http2", "tags/s over the echo, callers with the minimal HTTP/2 client"),
    Target("score_stream_over_echo_64_http2", "the same with scores"),
    Target("stream_over_naive_64", "such streams over the naive server with states; the lower ratio", at_least=3),
    Target("tag_stream_cpu_us_64", "the same: CPU us per tag of the server"),
    Target("score_stream_cpu_us_64", "the same: CPU us per score"),
    Target("echo_cpu_us_64", "the same: CPU us per message of the echo"),
    Target("tag_stream_p99_ms_64", "the same: p99 ms from a token to its tag"),
    Target(
        "tag_whole_over_bare_model",
        "whole sentences/s over the bare model's in batches of like length",
        at_least=0.7,
    ),
    Target("tag_whole_over_single", "the same over the bare model's one by one", at_least=3),
)
"""The targets of int8 are in `precision`."""


def compute_figures(results: Results) -> Json:
    """Computes every figure of TARGETS; ratios are taken within a round, and the median over rounds counts."""
    overload, cancelled = results.offered[OVERLOAD], results.cancelled

    def median(figure: Callable[[Round], float]) -> float:
        return statistics.median(figure(one) for one in results.rounds)

    def gap_over_step() -> float | None:
        """Returns None if every answer was one message, as with tiny models: there are no gaps."""
        gaps = [(one.served[64]["gap_ms"], fastest(one.bare_model, 64).step_us) for one in results.rounds]
        known = [1e3 * gap_ms["p99"] / step_us for gap_ms, step_us in gaps if gap_ms]
        return statistics.median(known) if known else None

    def served(one: Round, callers: int) -> float:
        return float(one.served[callers]["tokens_s"])

    def bare_model(one: Round, batch: int) -> float:
        return fastest(one.bare_model, batch).tokens_s

    def cpu_us(one: Round) -> float:
        return float(one.served[64]["server"]["cpu_us_per_token"])

    return {
        "bare_model_tokens_s_1": median(lambda one: bare_model(one, 1)),
        "bare_model_tokens_s_64": median(lambda one: bare_model(one, 64)),
        "served_over_bare_model_1": median(lambda one: served(one, 1) / bare_model(one, 1)),
        "served_over_bare_model_64": median(lambda one: served(one, 64) / bare_model(one, 64)),
        "served_over_bare_model_64_grpc": median(lambda one: one.served_grpc["tokens_s"] / bare_model(one, 64)),
        "served_over_naive_64": median(lambda one: served(one, 64) / one.naive["tokens_s"]),
        "served_256_over_64": median(lambda one: served(one, 256) / served(one, 64)),
        "p99_gap_over_step_64": gap_over_step(),
        "long_prompt_pause_over_gap": statistics.median(pause["pause_over_gap"] for pause in results.pauses["pauses"]),
        "overload_goodput": overload["goodput_tokens_s"] / overload["peak_tokens_s"],
        "overload_refuse_p99_ms": overload["refuse_ms"].get("p99"),
        "overload_rss_growth_mib": _growth_mib(overload),
        "cancel_rss_growth_mib": _growth_mib(cancelled),
        "cpu_ms_per_token_64": median(cpu_us) / 1e3,
        "cpu_over_bare_model_64": median(lambda one: cpu_us(one) / fastest(one.bare_model, 64).cpu_us_per_token),
        "cpu_over_bare_model_64_one_thread": median(
            lambda one: cpu_us(one) / of_threads(one.bare_model, 64, 1).cpu_us_per_token
        ),
        "python_us_per_token_64": median(lambda one: cpu_us(one) - of_threads(one.bare_model, 64, 1).cpu_us_per_token),
        "event_loop_us_per_token_64": median(lambda one: one.served[64]["server"]["main_thread_us_per_token"]),
        "engine_us_per_token_64": median(
            lambda one: (
                cpu_us(one)
                - one.served[64]["server"]["main_thread_us_per_token"]
                - of_threads(one.bare_model, 64, 1).cpu_us_per_token
            )
        ),
        "client_us_per_message_64": median(lambda one: one.served[64]["client_cpu_us_per_message"]),
        **_of_streams(results.streams),
        "tag_whole_over_bare_model": statistics.median(one.served / one.bare_batched for one in results.wholes),
        "tag_whole_over_single": statistics.median(one.served / one.bare_single for one in results.wholes),
    }


def _of_streams(rounds: Sequence[StreamRound]) -> Json:
    """Computes the figures of bidirectional streams."""

    def median(figure: Callable[[StreamRound], float]) -> float:
        return statistics.median(figure(one) for one in rounds)

    def over_echo(kind: str) -> float:
        return median(lambda one: one.served_grpc[kind]["tokens_s"] / one.echo_grpc[kind]["tokens_s"])

    def over_echo_http2(kind: str) -> float:
        return median(lambda one: one.served[kind]["tokens_s"] / one.echo[kind]["tokens_s"])

    def over_naive(kind: str) -> float:
        return median(lambda one: one.served[kind]["tokens_s"] / one.naive[kind]["tokens_s"])

    return {
        "tag_stream_over_echo_64": over_echo("tag"),
        "score_stream_over_echo_64": over_echo("score"),
        "tag_stream_over_echo_64_http2": over_echo_http2("tag"),
        "score_stream_over_echo_64_http2": over_echo_http2("score"),
        "stream_over_naive_64": min(over_naive("tag"), over_naive("score")),
        "tag_stream_cpu_us_64": median(lambda one: one.served["tag"]["server"]["cpu_us_per_token"]),
        "score_stream_cpu_us_64": median(lambda one: one.served["score"]["server"]["cpu_us_per_token"]),
        "echo_cpu_us_64": median(lambda one: one.echo["tag"]["server"]["cpu_us_per_token"]),
        "tag_stream_p99_ms_64": median(lambda one: one.served["tag"]["round_trip_ms"]["p99"]),
    }


def _growth_mib(measured: Json) -> float:
    return float(measured["server"]["rss_mib_after"] - measured["server"]["rss_mib_before"])
