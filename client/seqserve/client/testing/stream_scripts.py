"""What a scripted server answers as it comes to callers who send a text piece by piece."""

from __future__ import annotations

import math
import re
from collections.abc import AsyncGenerator, AsyncIterator

from seqserve.client.testing.scripts import SERVABLE, score_steps, word_tag
from seqserve.v1 import classification_pb2, common_pb2, generation_pb2, state_pb2, tagging_pb2

TIMING = common_pb2.Timing(queue_ms=1.0, first_output_ms=2.0, total_ms=10.0)


async def tag_as_it_comes(
    requests: AsyncIterator[tagging_pb2.StreamTagRequest],
) -> AsyncGenerator[tagging_pb2.StreamTagResponse, None]:
    """Label every word "X" as soon as it is whole: when a space, a flush or the end follows it."""
    yield tagging_pb2.StreamTagResponse(started=tagging_pb2.StreamTagStarted(servable=SERVABLE))
    tokens, before, rest = 0, 0, ""  # tags sent, characters of text before the rest
    async for request in requests:
        rest += request.text or "".join(f"{word} " for word in request.words.words)
        rest += "".join(f"{token} " for token in request.token_ids.ids)
        whole = re.search(r"\S*$", rest) if request.WhichOneof("message") in {"text", "config"} else None
        cut = len(rest) if whole is None else whole.start()
        tags = [word_tag(word, tokens + index, before) for index, word in enumerate(re.finditer(r"\S+", rest[:cut]))]
        tokens, before, rest = tokens + len(tags), before + cut, rest[cut:]
        if tags:
            yield tagging_pb2.StreamTagResponse(piece=tagging_pb2.StreamTagPiece(tags=tags))
    tags = [word_tag(word, tokens, before) for word in re.finditer(r"\S+", rest)]
    if tags:
        yield tagging_pb2.StreamTagResponse(piece=tagging_pb2.StreamTagPiece(tags=tags))
    yield tagging_pb2.StreamTagResponse(
        finished=tagging_pb2.StreamTagFinished(
            tokens=tokens + len(tags),
            state=state_pb2.StateResult(position=tokens + len(tags)),
            timing=TIMING,
            reason=common_pb2.STREAM_END_INPUT,
        )
    )


async def score_as_it_comes(
    requests: AsyncIterator[generation_pb2.StreamScoreRequest],
) -> AsyncGenerator[generation_pb2.StreamScoreResponse, None]:
    """Give every character, or token id, a log-probability of -1 nat."""
    yield generation_pb2.StreamScoreResponse(started=generation_pb2.StreamScoreStarted(servable=SERVABLE))
    tokens = top = 0
    async for request in requests:
        top = request.config.top_logprobs or top
        text = request.text or "".join(map(chr, request.token_ids.ids))
        if text:
            places = [common_pb2.Offsets(start=at, end=at + 1) for at in range(tokens, tokens + len(text))]
            piece = generation_pb2.StreamScorePiece(tokens=score_steps(text, top), position=tokens, offsets=places)
            yield generation_pb2.StreamScoreResponse(piece=piece)
        tokens += len(text)
    total = generation_pb2.SequenceScore(logprob=-tokens, scored_tokens=tokens, perplexity=math.e if tokens else 1.0)
    yield generation_pb2.StreamScoreResponse(
        finished=generation_pb2.StreamScoreFinished(
            total=total,
            state=state_pb2.StateResult(position=tokens),
            timing=TIMING,
            reason=common_pb2.STREAM_END_INPUT,
        )
    )


async def classify_as_it_comes(
    requests: AsyncIterator[classification_pb2.StreamClassifyRequest],
) -> AsyncGenerator[classification_pb2.StreamClassifyResponse, None]:
    """Find the text to be "X" after each piece, and of one token a word."""
    yield classification_pb2.StreamClassifyResponse(started=classification_pb2.StreamClassifyStarted(servable=SERVABLE))
    text, answer = "", classification_pb2.Classification()
    async for request in requests:
        text += request.text or "".join(f"{word} " for word in request.words.words)
        text += "".join(f"{token} " for token in request.token_ids.ids)
        if tokens := len(text.split()):
            label = common_pb2.LabelScore(label="X", score=1.0)
            answer = classification_pb2.Classification(labels=[label], chosen=["X"], tokens=tokens)
            update = classification_pb2.StreamClassifyUpdate(classification=answer, position=tokens)
            yield classification_pb2.StreamClassifyResponse(update=update)
    yield classification_pb2.StreamClassifyResponse(
        finished=classification_pb2.StreamClassifyFinished(
            classification=answer if answer.tokens else None,
            state=state_pb2.StateResult(position=answer.tokens),
            timing=TIMING,
            reason=common_pb2.STREAM_END_INPUT,
        )
    )
