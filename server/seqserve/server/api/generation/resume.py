"""Resumption of a broken stream: the tokens that its caller has received, and the seed for the rest."""

from __future__ import annotations

from collections.abc import Sequence

from seqserve.server.decoding.randomness import draw_seed
from seqserve.server.engine.requests import Received, StoppingSpec
from seqserve.server.errors import InvalidFieldError
from seqserve.server.model.sequence_state import SequenceState
from seqserve.server.text.stop_matching import StopMatcher
from seqserve.server.text.tokenization import Tokenization
from seqserve.v1 import generation_pb2 as pb


def seed(request: pb.GenerateRequest, start: SequenceState) -> int:
    """Returns the seed: of the request that this one repeats or resumes, as requested, or a random one.

    Raises: InvalidFieldError if these differ, because the answer would be another text.
    """
    resumed = request.resume.seed if request.HasField("resume") else None
    requested = request.sampling.seed if request.sampling.HasField("seed") else None
    known = start.seed if start.seed is not None else resumed if resumed is not None else requested
    if known is None:
        return draw_seed()
    for field, given in (("resume.seed", resumed), ("sampling.seed", requested)):
        if given not in (None, known):
            raise InvalidFieldError(
                f"{field} is {given}, but the resumed generation has seed {known}; leave it out, or send {known}",
                field=field,
            )
    return known


def received(
    resume: pb.ResumePoint, stopping: StoppingSpec, samples: int, tokenization: Tokenization, table: Sequence[bytes]
) -> tuple[Received, ...]:
    """Returns the tokens that the caller has received of each sample; empty if there are none.

    Args: table: the bytes of each token.
    Raises: InvalidFieldError for more samples than there are, tokens outside the vocabulary, or after the text's end.
    """
    if len(resume.received) > samples:
        raise InvalidFieldError(
            f"resume.received has {len(resume.received)} entries for {samples} samples; send one a sample",
            field="resume.received",
        )
    if not any(entry.ids for entry in resume.received):
        return ()
    found: list[Received] = []
    for index, entry in enumerate(resume.received):
        field = f"resume.received[{index}].ids"
        tokenization.check_ids(entry.ids, field)
        found.append(_received(tuple(entry.ids), stopping, table, field))
    return (*found, *[Received(())] * (samples - len(found)))


def _received(tokens: tuple[int, ...], stopping: StoppingSpec, table: Sequence[bytes], field: str) -> Received:
    matcher = StopMatcher(table, stopping.stop) if stopping.stop else None
    for count, token in enumerate(tokens, 1):
        ended = token in stopping.ends or count == stopping.max_tokens
        if matcher is not None:
            ended |= matcher.push(token) is not None and count > stopping.min_tokens
        if ended and count < len(tokens):
            raise InvalidFieldError(
                f"{field} has {len(tokens)} tokens, but the answer ends with the first {count} of them; send what this "
                "request was answered with",
                field=field,
            )
    return Received(tokens, 0 if matcher is None else matcher.held_bytes)
