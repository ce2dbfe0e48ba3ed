"""Hostile requests: valid on the wire, expensive for a server that does their work on its event loop or without bounds.

python -m benchmarks attack hyphens --address HOST:PORT --seconds 5
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import grpc
import grpc.aio

from benchmarks.harness import model
from benchmarks.loadgen.recording import Json
from seqserve.v1 import common_pb2 as common
from seqserve.v1 import generation_pb2 as generation
from seqserve.v1 import session_pb2, state_pb2
from seqserve.v1 import tagging_pb2 as tagging

LM, TAGGER = model.NAME, "english-pos"  # the tagger is a committed model: its tokenizer is a user's
CALLERS = 2
DEADLINE_S = 60.0
LETTERS = "abcdefghijklmnopqrstuvwxyz \n"
PROMPT_CHARACTERS, HYPHEN_CHARACTERS, LONG_HYPHEN_CHARACTERS, URL_CHARACTERS = 60_000, 3_000, 100_000, 2_048
STOPS, STOP_CHARACTERS, STOP_TOKENS = 16, 256, 2_000
EMPTY_INPUTS = 8_900_000
KEPT_TOKENS = 15_500_000  # a byte each, below the default limit of snapshots, 16 MiB
_GENERATE, _TAG = "/seqserve.v1.GenerationService/Generate", "/seqserve.v1.TaggingService/Tag"
_SESSIONS = "/seqserve.v1.SessionService/"
_UNBOUNDED = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]

Attack = Callable[[grpc.aio.Channel], Awaitable[None]]


async def _read(channel: grpc.aio.Channel, method: str, message: bytes, *, gzip: bool = False) -> list[bytes]:
    """Makes a call of any kind and reads it to its end."""
    stub: Any = channel.stream_stream(method)
    compression = grpc.Compression.Gzip if gzip else None
    call: AsyncIterator[bytes] = stub(iter([message]), compression=compression, timeout=DEADLINE_S)
    return [response async for response in call]


async def prompt_logprobs(channel: grpc.aio.Channel) -> None:
    """Generates with 20 log-probabilities for each of 60,000 characters of the prompt."""
    text = "".join(random.Random(0).choices(LETTERS, k=PROMPT_CHARACTERS))
    request = generation.GenerateRequest(model=common.ModelRef(name=LM), text=text)
    request.outputs.prompt_logprobs = 20
    request.stopping.max_tokens = 1
    await _read(channel, _GENERATE, request.SerializeToString())


async def _tag(channel: grpc.aio.Channel, text: str) -> None:
    request = tagging.TagRequest(model=common.ModelRef(name=TAGGER), inputs=[tagging.TagInput(text=text)])
    await _read(channel, _TAG, request.SerializeToString())


async def hyphens(channel: grpc.aio.Channel) -> None:
    """Tags 3,000 characters of a-a-a-..., for which the regular expression of a tokenizer may be quadratic."""
    await _tag(channel, "a-" * (HYPHEN_CHARACTERS // 2))


async def many_hyphens(channel: grpc.aio.Channel) -> None:
    """Tags 100,000 such characters."""
    await _tag(channel, "a-" * (LONG_HYPHEN_CHARACTERS // 2))


async def long_url(channel: grpc.aio.Channel) -> None:
    """Tags one base64url string of 2,048 characters, as in a JSON web token or a signed URL."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    await _tag(channel, "".join(random.choices(letters, k=URL_CHARACTERS)))


async def stop_strings(channel: grpc.aio.Channel) -> None:
    """Generates 2,000 tokens with 16 stop strings of 256 characters."""
    chance = random.Random(0)
    request = generation.GenerateRequest(model=common.ModelRef(name=LM), text="ROMEO:")
    request.stopping.max_tokens = STOP_TOKENS
    request.stopping.stop.extend("".join(chance.choices(LETTERS, k=STOP_CHARACTERS)) for _ in range(STOPS))
    await _read(channel, _GENERATE, request.SerializeToString())


async def empty_inputs(channel: grpc.aio.Channel) -> None:
    """Tags 8.9 million empty inputs: 18 MB that compress to 17 KB."""
    message = tagging.TagRequest(model=common.ModelRef(name=TAGGER)).SerializeToString()
    await _read(channel, _TAG, message + b"\x12\x00" * EMPTY_INPUTS, gzip=True)


async def import_kept_tokens(channel: grpc.aio.Channel) -> None:
    """Imports a session that keeps 15.5 million tokens, unless it exists."""
    create = session_pb2.CreateSessionRequest(model=common.ModelRef(name=LM), session_id="seed", keep_tokens=True)
    generate = generation.GenerateRequest(model=common.ModelRef(name=LM), text="ROMEO:")
    generate.state.session_id = "seed"
    generate.stopping.max_tokens = 1
    await _read(channel, f"{_SESSIONS}CreateSession", create.SerializeToString())
    await _read(channel, _GENERATE, generate.SerializeToString())
    export = session_pb2.ExportSessionRequest(session_id="seed").SerializeToString()
    (response,) = await _read(channel, f"{_SESSIONS}ExportSession", export)
    snapshot = state_pb2.Snapshot.FromString(session_pb2.ExportSessionResponse.FromString(response).snapshot)
    payload = state_pb2.SnapshotPayload.FromString(snapshot.payload)
    filler = KEPT_TOKENS - len(payload.tokens)
    payload.tokens[:] = [payload.generation.counts.token_ids[0]] * filler + list(payload.tokens)
    payload.position += filler
    payload.generation.counts.prompt[0] += filler  # counts have to add up to the position
    snapshot.payload = payload.SerializeToString()
    snapshot.sha256 = hashlib.sha256(snapshot.payload).digest()
    imported = session_pb2.ImportSessionRequest(snapshot=snapshot.SerializeToString(), session_id="kept")
    await _read(channel, f"{_SESSIONS}ImportSession", imported.SerializeToString())


async def kept_tokens(channel: grpc.aio.Channel) -> None:
    """Generates one token in a session that keeps 15.5 million tokens."""
    request = generation.GenerateRequest(model=common.ModelRef(name=LM), text="a")
    request.state.session_id = "kept"
    request.state.busy_policy = state_pb2.BUSY_POLICY_WAIT
    request.stopping.max_tokens = 1
    await _read(channel, _GENERATE, request.SerializeToString())


ATTACKS: dict[str, Attack] = {
    attack.__name__: attack
    for attack in (
        prompt_logprobs,
        hyphens,
        many_hyphens,
        long_url,
        stop_strings,
        empty_inputs,
        import_kept_tokens,
        kept_tokens,
    )
}
ONCE = frozenset(("import_kept_tokens",))
"""Attacks that run once, however long they are measured."""


async def run_attack(name: str, address: str, seconds: float) -> Json:
    """Repeats an attack for ``seconds``, by CALLERS at a time, each with at least one call.

    Returns:
        The number of calls by outcome ("OK", or status code and reason), and the longest call in seconds.
    """
    attack, outcomes, longest_s = ATTACKS[name], Counter[str](), 0.0
    stop_s = time.perf_counter() + seconds
    async with grpc.aio.insecure_channel(address, _UNBOUNDED) as channel:

        async def repeat() -> None:
            nonlocal longest_s
            while True:
                start_s = time.perf_counter()
                try:
                    await attack(channel)
                    outcomes["OK"] += 1
                except grpc.aio.AioRpcError as error:
                    outcomes[f"{error.code().name}: {(error.details() or '')[:100]}"] += 1
                    await asyncio.sleep(0.05)  # a refusal is quick: do not turn this into a flood
                now_s = time.perf_counter()
                longest_s = max(longest_s, now_s - start_s)
                if name in ONCE or now_s >= stop_s:
                    return

        await asyncio.gather(*(repeat() for _ in range(1 if name in ONCE else CALLERS)))
    return {"outcomes": dict(outcomes), "longest_s": longest_s}


def main(argv: Sequence[str]) -> None:
    """Runs from the command line; prints one JSON object."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks attack", description="Send hostile requests.")
    parser.add_argument("name", choices=ATTACKS, help="the kind of request")
    parser.add_argument("--address", required=True, metavar="HOST:PORT", help="address of the server")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long to repeat it (%(default)s)")
    arguments = parser.parse_args(argv)
    print(json.dumps(asyncio.run(run_attack(arguments.name, arguments.address, arguments.seconds))))
