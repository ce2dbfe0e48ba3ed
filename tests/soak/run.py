"""Runs many calls on one server and watches it: outcomes, a canary, liveness, memory."""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc.aio
from grpc_health.v1 import health_pb2

from benchmarks.harness import processes
from benchmarks.harness.processes import ServerProcess
from seqserve.v1 import generation_pb2 as generation
from seqserve.v1 import tagging_pb2 as tagging
from tests.soak import models
from tests.soak.wire import METHODS, Caller, Outcome

CALLERS = 16
CANARY_EVERY = 50  # calls
FAULTS_SHOWN = 20
GROWTH_MIB_MAX = 16.0
"""Growth of resident memory over the second half of a run that counts as flat, in MiB."""
SETTINGS = {
    "SEQSERVE_DRAIN_S": "0",
    "SEQSERVE_SESSIONS__BYTES_MAX": str(8 << 20),  # full early, so that memory is flat early
}
_HEALTH = "/grpc.health.v1.Health/Check"


@dataclass(frozen=True, slots=True)
class Conversation:
    """One call of a run.

    Attributes:
        name: Name of the method.
        messages: Serialized requests.
        cancel_after: Cancel after this number of responses; None to read all of them.
    """

    name: str
    messages: Sequence[bytes]
    cancel_after: int | None = None


@dataclass(slots=True)
class Report:
    """What a run saw.

    Attributes:
        codes: Number of calls by status code.
        reasons: Number of refusals by reason.
        invalid: Messages of the first refusals with INVALID_ARGUMENT.
        faults: The first faults, each with the call that reproduces it.
        faults_count: Number of all faults.
        canaries: Number of canaries, all of which gave the same answer unless `faults` says otherwise.
        rss_mib: Resident memory of the server over the run.
    """

    codes: Counter[str] = field(default_factory=Counter[str])
    reasons: Counter[str] = field(default_factory=Counter[str])
    invalid: list[str] = field(default_factory=list[str])
    faults: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    faults_count: int = 0
    canaries: int = 0
    rss_mib: list[float] = field(default_factory=list[float])

    def add_fault(self, description: str, conversation: Conversation | None = None) -> None:
        """Records a fault, with the arguments of `python -m tests.soak call` that reproduce it."""
        self.faults_count += 1
        if len(self.faults) < FAULTS_SHOWN:
            arguments: list[str] = []
            if conversation is not None:
                arguments = [conversation.name, *(message.hex() for message in conversation.messages)]
            self.faults.append({"fault": description, "call": " ".join(arguments)[:20_000]})

    @property
    def growth_mib(self) -> float:
        """Growth of memory over the second half of the run: medians of a tenth each."""
        tenth = max(1, len(self.rss_mib) // 10)
        middle = len(self.rss_mib) // 2
        before, after = self.rss_mib[middle : middle + tenth], self.rss_mib[-tenth:]
        return statistics.median(after) - statistics.median(before) if after else 0.0

    def as_json(self) -> dict[str, Any]:
        """Returns the JSON object of the last line."""
        return {
            "calls": sum(self.codes.values()),
            "codes": dict(self.codes.most_common()),
            "reasons": dict(self.reasons.most_common()),
            "canaries": self.canaries,
            "rss_mib": [round(self.rss_mib[len(self.rss_mib) * part // 4 - (part == 4)], 1) for part in range(5)]
            if self.rss_mib
            else [],
            "growth_mib": round(self.growth_mib, 1),
            "faults": self.faults_count,
        }


class Canary:
    """A generation, scores and tags whose answers may never change, whatever else the server does."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._caller = Caller(channel)
        self._health: Any = channel.unary_unary(
            _HEALTH, response_deserializer=health_pb2.HealthCheckResponse.FromString
        )
        self._expected: list[bytes] | None = None

    async def sing(self) -> str:
        """Asks for the answers. Returns what is wrong with them; empty if nothing is."""
        health = await self._health(b"", timeout=30.0)
        if health.status != health_pb2.HealthCheckResponse.SERVING:
            return f"health is {health_pb2.HealthCheckResponse.ServingStatus.Name(health.status)}"
        answers: list[bytes] = []
        for name, message in self._requests():
            outcome = await self._answer(name, message)
            if outcome.code is not grpc.StatusCode.OK:
                return f"canary {name}: {outcome.code.name}: {outcome.message}"
            answers.append(_lasting(name, outcome.responses))
        if self._expected is None:
            self._expected = answers
        return "" if answers == self._expected else "canary: the answers have changed"

    async def _answer(self, name: str, message: bytes) -> Outcome:
        while True:
            outcome = await self._caller.call(METHODS[name], [message])
            if outcome.reason != "ERROR_REASON_QUEUE_FULL":
                return outcome
            await asyncio.sleep(0)  # the other callers, of whom there are few, make room

    @staticmethod
    def _requests() -> list[tuple[str, bytes]]:
        generate = generation.GenerateRequest(text="the cat sat on", model={"name": models.LM})
        generate.sampling.seed = 7
        generate.sampling.temperature = 1.0
        generate.stopping.max_tokens = 60
        generate.outputs.logprobs = 3
        score = generation.ScoreRequest(model={"name": models.LM}, logprobs=2)
        score.inputs.add(text="a dog sat on the mat")
        tag = tagging.TagRequest(model={"name": models.TAGGER})
        tag.inputs.add(text="the cat sat on a mat")
        messages = (("Generate", generate), ("Score", score), ("Tag", tag))
        return [(name, message.SerializeToString()) for name, message in messages]


def _lasting(name: str, responses: Sequence[bytes]) -> bytes:
    """An answer without the times, which differ from call to call, and however its tokens came in pieces."""
    if name == "Generate":
        pieces = [generation.GenerateResponse.FromString(response).piece for response in responses]
        logprobs = [step.SerializeToString(deterministic=True) for piece in pieces for step in piece.logprobs]
        return b"".join([*(piece.text.encode() for piece in pieces), *logprobs])
    message: Any = generation.ScoreResponse() if name == "Score" else tagging.TagResponse()
    message.ParseFromString(responses[0])
    message.ClearField("timing")
    serialized: bytes = message.SerializeToString(deterministic=True)
    return serialized


@contextlib.asynccontextmanager
async def soak_server(folder: Path) -> AsyncIterator[ServerProcess]:
    """Runs a server with the models of the soak tests until the block ends."""
    models.write_models(folder / "models")
    arguments = ["--models", str(folder / "models"), "--listen", "127.0.0.1:0", "--log-level", "warning"]
    with processes.running("seqserve.server", arguments, folder / "server.log", SETTINGS) as server:
        yield server


async def run(
    server: ServerProcess,
    count: int,
    draw: Callable[[], Conversation],
    *,
    on_response: Callable[[str, bytes], None] = lambda name, response: None,  # noqa: ARG005
    deadline_s: float = 60.0,
) -> Report:
    """Makes ``count`` calls on a server, CALLERS of them at a time.

    Args:
        server: The server under test.
        count: Number of calls.
        draw: Returns the next call.
        on_response: Takes each response with the name of its method.
        deadline_s: Deadline of each call, in seconds; passing it is no fault.

    Returns:
        What the run saw.
    """
    report, started = Report(), iter(range(count))
    options = [("grpc.max_receive_message_length", -1)]
    async with grpc.aio.insecure_channel(server.address, options) as channel:
        canary, caller = Canary(channel), Caller(channel)
        await _sing(canary, report)

        async def make_calls() -> None:
            for number in started:  # shared: the callers take turns
                conversation = draw()
                method = METHODS[conversation.name]
                outcome = await caller.call(
                    method, conversation.messages, cancel_after=conversation.cancel_after, deadline_s=deadline_s
                )
                _record(report, conversation, outcome)
                for response in outcome.responses if outcome.code is grpc.StatusCode.OK else ():
                    on_response(conversation.name, response)
                if number % CANARY_EVERY == 0:
                    await _sing(canary, report)
                    report.rss_mib.append(processes.rss_mib(server.pid))
                    if number % 1000 == 0:
                        print(f"{number} calls, {report.faults_count} faults", file=sys.stderr, flush=True)

        await asyncio.gather(*(make_calls() for _ in range(min(CALLERS, count))))
        await _sing(canary, report)
    return report


async def _sing(canary: Canary, report: Report) -> None:
    report.canaries += 1
    try:
        if wrong := await canary.sing():
            report.add_fault(wrong)
    except grpc.aio.AioRpcError as error:
        report.add_fault(f"health check: {error.code().name}: {error.details()}")


def _record(report: Report, conversation: Conversation, outcome: Outcome) -> None:
    report.codes[outcome.code.name] += 1
    if outcome.reason:
        report.reasons[outcome.reason] += 1
    if outcome.code is grpc.StatusCode.INVALID_ARGUMENT and len(report.invalid) < FAULTS_SHOWN:
        report.invalid.append(f"{conversation.name}: {outcome.message}")
    if outcome.fault and outcome.code is not grpc.StatusCode.DEADLINE_EXCEEDED:
        report.add_fault(f"{conversation.name}: {outcome.fault}", conversation)
