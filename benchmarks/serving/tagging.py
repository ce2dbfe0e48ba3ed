"""Whole sentences through Tag, against the bare graph: the dev part of EWT as words, 256 sentences per request.

    python -m benchmarks tagging                                              (LSTM 2 x 512, random weights)
    python -m benchmarks tagging --models models --model english-pos

Alternates, in separate processes: the graph in a loop over batches of sentences in order of length, with the batch
size and the number of threads that are best for it; the graph in a loop over single sentences; the server with several
concurrent requests. The time of the bare graph excludes the lookup of words; the time of the server includes it.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import grpc.aio
import numpy as np

from benchmarks.baselines.bare_model import THREADS
from benchmarks.harness import model
from benchmarks.harness.servers import bench_servable, newest_version, start_server
from benchmarks.loadgen.recording import Json
from seqserve.server.model.inputs import Array, Inputs, IntArray, pad
from seqserve.server.model.manifest import read_manifest
from seqserve.server.model.servable import Servable, ServableId
from seqserve.server.settings import RuntimeSettings
from seqserve.server.text.tokenization import Tokenization
from seqserve.v1 import common_pb2, manifest_pb2, tagging_pb2

SENTENCES_A_REQUEST = 256
REQUESTS_IN_FLIGHT = 4
BATCHES = (8, 16, 32, 64)
EWT, MADE_UP = "EWT dev", "made up"
DATA = Path(__file__).parents[3] / "shared" / "data"

T = TypeVar("T")
Padded = tuple[dict[manifest_pb2.TensorRole, Array], IntArray]


@dataclass(frozen=True, slots=True)
class Whole:
    """Sentences per second.

    Attributes:
        bare_batched: The bare graph in the best batches.
        bare_single: The bare graph, one sentence at a time.
        served: The server.
        source: Origin of the sentences, EWT or MADE_UP.
    """

    bare_batched: float
    bare_single: float
    served: float
    source: str


def measure(address: str, servable: Path, sentences: int, seconds: float) -> Whole:
    """Runs one round.

    Args:
        address: The server's, HOST:PORT.
        servable: Folder of the tagger.
        sentences: Number of sentences of the data set to use; 0 for all.
        seconds: Duration of the measurement of the server.
    """
    source = EWT if _data().is_file() else MADE_UP
    if source != EWT:
        print(f"benchmarks tagging: {_data()} does not exist: using made-up sentences", file=sys.stderr)
    bare = _measure_in_process("bare", str(servable), str(sentences))
    served = _measure_in_process("served", address, servable.parent.name, str(sentences), str(seconds))
    return Whole(bare["bare_batched"], bare["bare_single"], served["sentences_s"], source)


def texts(count: int) -> list[list[str]]:
    """Returns sentences as words: EWT's dev part if the data set exists, otherwise made-up ones of similar lengths.

    Args:
        count: Number of sentences, spread over all; 0 for all.
    """
    if (file := _data()).is_file():
        from seqserve.training.data.conllu import read_conllu

        sentences = [list(sentence.words) for sentence in read_conllu(file)]
    else:
        drawn = random.Random(model.SEED)
        sentences = [
            ["x" * drawn.randint(1, 9) for _ in range(min(75, 1 + int(drawn.expovariate(1 / 11.5))))]
            for _ in range(2001)
        ]
    return sentences[:: max(1, len(sentences) // count)] if count else sentences


def _data() -> Path:
    """Returns the expected path of EWT's dev part."""
    return Path(os.environ.get("SEQSERVE_DATA", DATA)) / "ud_english_ewt" / "en_ewt-ud-dev.conllu.gz"


def bare(servable: Path, count: int) -> Json:
    """Measures sentences per second of the graph alone."""
    manifest = read_manifest(servable)
    tokenization = Tokenization(manifest, servable)
    inputs = [tokenization.tokenize_words(words, "words").inputs for words in texts(count)]
    in_order = sorted(inputs, key=len)
    rates: dict[str, list[float]] = {"bare_batched": [], "bare_single": []}
    for threads in THREADS:
        graph = Servable(
            ServableId(servable.parent.name, int(servable.name), manifest.graph.sha256),
            manifest,
            servable,
            RuntimeSettings(provider="cpu", threads=threads),
        )
        rates["bare_batched"] += [_rate(graph, in_order, size) for size in BATCHES]
        rates["bare_single"].append(_rate(graph, inputs, 1))
    return {name: max(values) for name, values in rates.items()}


def _rate(graph: Servable, inputs: list[Inputs], size: int) -> float:
    """Measures sentences per second in batches of ``size``."""
    batches: list[Padded] = [pad(batch) for batch in _cut(inputs, size)]
    state = graph.initial_state()
    states = {rows: tuple(np.repeat(tensor, rows, axis=1) for tensor in state) for rows in {size, len(batches[-1][1])}}
    for arrays, lengths in batches[:2]:
        graph.run_arrays(arrays, lengths, states[len(lengths)])
    start_s = time.perf_counter()
    for arrays, lengths in batches:
        graph.run_arrays(arrays, lengths, states[len(lengths)])
    return len(inputs) / (time.perf_counter() - start_s)


async def served(address: str, name: str, count: int, seconds: float) -> Json:
    """Measures sentences per second of a server whose callers send the next request after each answer."""
    sentences = texts(count)
    requests = itertools.cycle(
        [
            (
                len(batch),
                tagging_pb2.TagRequest(
                    model=common_pb2.ModelRef(name=name),
                    inputs=[tagging_pb2.TagInput(words=common_pb2.Words(words=words)) for words in batch],
                ).SerializeToString(),
            )
            for batch in _cut(sentences, SENTENCES_A_REQUEST)
        ]
    )
    ends: list[tuple[float, int]] = []
    async with grpc.aio.insecure_channel(address, [("grpc.max_receive_message_length", -1)]) as channel:
        tag: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/seqserve.v1.TaggingService/Tag")
        await tag(next(requests)[1])
        stop_s = time.perf_counter() + seconds

        async def send_requests() -> None:
            while time.perf_counter() < stop_s or len(ends) < 2 * REQUESTS_IN_FLIGHT:
                size, request = next(requests)
                await tag(request)
                ends.append((time.perf_counter(), size))

        await asyncio.gather(*(send_requests() for _ in range(REQUESTS_IN_FLIGHT)))
    first_s, last_s = (
        ends[REQUESTS_IN_FLIGHT - 1][0],
        ends[-REQUESTS_IN_FLIGHT][0],
    )  # all callers are busy
    done = sum(size for end_s, size in ends if first_s < end_s <= last_s)
    return {"sentences_s": done / (last_s - first_s)}


def _cut(items: list[T], size: int) -> list[list[T]]:
    """Splits items into lists of ``size``."""
    return [items[start : start + size] for start in range(0, len(items), size)]


def _measure_in_process(*arguments: str) -> Json:
    """Runs a part of the measurement in a separate process."""
    command = [sys.executable, "-m", "benchmarks", "tagging", "--part", *arguments]
    process = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    result: Json = json.loads(process.stdout)
    return result


def _run_part(name: str, *arguments: str) -> Json:
    if name == "bare":
        servable, count = arguments
        return bare(Path(servable), int(count))
    address, model_name, count, seconds = arguments
    return asyncio.run(served(address, model_name, int(count), float(seconds)))


def main(argv: Sequence[str]) -> None:
    """Runs several rounds from the command line; prints one JSON object."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks tagging", description="Measure whole sentences.")
    parser.add_argument("--models", type=Path, help="model repository (default: one with the benchmarks' servables)")
    parser.add_argument("--model", default=model.TAGGER, help="name of the tagger (%(default)s)")
    parser.add_argument("--sentences", type=int, default=0, help="sentences of the data set; 0 for all (%(default)s)")
    parser.add_argument("--seconds", type=float, default=4.0, help="of the server, per round (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="(%(default)s)")
    parser.add_argument("--part", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.part:
        print(json.dumps(_run_part(*arguments.part)))
        return
    if arguments.models is None:
        with bench_servable(model.ModelSpec()) as folder:
            rounds = _rounds(folder.parents[1], arguments)
    else:
        rounds = _rounds(arguments.models, arguments)
    figures = {
        "tag_whole_over_bare_model": statistics.median(each.served / each.bare_batched for each in rounds),
        "tag_whole_over_single": statistics.median(each.served / each.bare_single for each in rounds),
    }
    print(json.dumps(figures | {"model": arguments.model, "rounds": [asdict(each) for each in rounds]}))


def _rounds(models: Path, arguments: argparse.Namespace) -> list[Whole]:
    servable = newest_version(models, arguments.model)
    with start_server("seqserve", models) as process:
        return [
            measure(process.address, servable, arguments.sentences, arguments.seconds) for _ in range(arguments.rounds)
        ]
