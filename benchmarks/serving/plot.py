"""Throughput and tail latency against offered load, as a picture."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from benchmarks.loadgen.recording import Json


def draw(offered: dict[float, Json], path: Path) -> None:
    """Draws goodput, refusals and waiting times of Poisson arrivals.

    Args:
        offered: Measurements of the open loop, by share of the capacity.
        path: The PNG file to write.
    """
    shares = sorted(offered)
    runs = [offered[share] for share in shares]
    figure = Figure(figsize=(9, 4), layout="constrained")
    throughput, latency = figure.subplots(1, 2)

    throughput.plot(shares, [run["goodput_tokens_s"] / run["peak_tokens_s"] for run in runs], "o-", label="goodput")
    throughput.plot(shares, [run["refused"] / max(1, run["offered"]) for run in runs], "s--", label="share refused")
    throughput.plot([0, 1, max(shares)], [0, 1, 1], ":", color="grey", label="ideal")
    throughput.set(xlabel="offered load / capacity", ylabel="over the closed loop's peak", ylim=(0, None))
    throughput.legend()

    waits = (("first_token_ms", "first token", "C0"), ("gap_ms", "gap", "C1"), ("refuse_ms", "refusal", "C2"))
    for key, label, color in waits:
        for percentile, style in (("p50", ".:"), ("p99", "o-")):
            known = [(share, run[key][percentile]) for share, run in zip(shares, runs, strict=True) if run[key]]
            if known:
                latency.plot(*zip(*known, strict=True), style, color=color, label=f"{label}, {percentile}")
    latency.set(xlabel="offered load / capacity", ylabel="ms", yscale="log")
    latency.legend(fontsize="small")
    for axes in (throughput, latency):
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)
