"""What a scripted server answers as it comes, and the events that scripts of one's own are made of."""

from __future__ import annotations

import math
import re
from collections.abc import AsyncGenerator

from seqserve.v1 import (
    classification_pb2,
    common_pb2,
    generation_pb2,
    infilling_pb2,
    manifest_pb2,
    model_pb2,
    state_pb2,
    tagging_pb2,
)

SERVABLE = common_pb2.ServableId(model="scripted", version=1, digest="0" * 64)
"""The servable that every scripted answer names."""


def started(seed: int = 0, prompt_tokens: int = 0) -> generation_pb2.GenerateResponse:
    """The first event of a generation."""
    return generation_pb2.GenerateResponse(
        started=generation_pb2.GenerationStarted(
            servable=SERVABLE, seed=seed, prompt_tokens=prompt_tokens, position=prompt_tokens
        )
    )


def piece(text: str, position: int = 0, *, sample: int = 0) -> generation_pb2.GenerateResponse:
    """An event with some text, of which each character is a token whose id is its code point."""
    return generation_pb2.GenerateResponse(
        piece=generation_pb2.GenerationPiece(
            sample=sample, text=text, token_ids=[ord(character) for character in text], position=position
        )
    )


def finished(tokens: int, prompt_tokens: int = 0, *, samples: int = 1) -> generation_pb2.GenerateResponse:
    """The last event of a generation: every sample reached ``max_tokens``."""
    ends = [
        generation_pb2.SampleFinished(sample=index, reason=generation_pb2.FINISH_REASON_LENGTH, tokens=tokens)
        for index in range(samples)
    ]
    return generation_pb2.GenerateResponse(
        finished=generation_pb2.GenerationFinished(
            samples=ends,
            prompt_tokens=prompt_tokens,
            generated_tokens=tokens * samples,
            timing=common_pb2.Timing(queue_ms=1.0, first_output_ms=2.0, total_ms=10.0),
            state=state_pb2.StateResult(position=prompt_tokens + tokens),
        )
    )


async def echo(
    request: generation_pb2.GenerateRequest,
) -> AsyncGenerator[generation_pb2.GenerateResponse, None]:
    """Generate the prompt once more, a character a piece."""
    length = len(request.text)
    yield started(request.sampling.seed, length)
    for index, character in enumerate(request.text):
        yield piece(character, length + index)
    yield finished(length, length)


async def score_characters(request: generation_pb2.ScoreRequest) -> generation_pb2.ScoreResponse:
    """Give every character, or token id, a log-probability of -1 nat."""
    texts = [one.text or "".join(map(chr, one.token_ids.ids)) for one in request.inputs]
    return generation_pb2.ScoreResponse(
        servable=SERVABLE,
        scores=[
            generation_pb2.SequenceScore(
                logprob=-len(text),
                scored_tokens=len(text),
                perplexity=math.e if text else 1.0,
                tokens=score_steps(text, request.logprobs) if request.HasField("logprobs") else (),
            )
            for text in texts
        ],
        timing=common_pb2.Timing(queue_ms=1.0, first_output_ms=2.0, total_ms=2.0),
    )


async def tag_words(request: tagging_pb2.TagRequest) -> tagging_pb2.TagResponse:
    """Label every word "X"."""
    texts = [one.text or " ".join(one.words.words) for one in request.inputs]
    return tagging_pb2.TagResponse(
        servable=SERVABLE, sequences=[tagging_pb2.TaggedSequence(tags=_tags(text)) for text in texts]
    )


async def classify_texts(request: classification_pb2.ClassifyRequest) -> classification_pb2.ClassifyResponse:
    """Call every text "X" with a probability of 0.75, or else "Y"."""
    labels = [common_pb2.LabelScore(label="X", score=0.75), common_pb2.LabelScore(label="Y", score=0.25)]
    top = request.top_labels if request.HasField("top_labels") else len(labels)
    texts = [one.text or " ".join(one.words.words) for one in request.inputs]
    return classification_pb2.ClassifyResponse(
        servable=SERVABLE,
        classifications=[
            classification_pb2.Classification(labels=labels[:top], chosen=["X"], tokens=len(text.split()))
            for text in texts
        ],
        timing=common_pb2.Timing(queue_ms=1.0, first_output_ms=2.0, total_ms=2.0),
    )


async def fill_blanks(request: infilling_pb2.FillInRequest) -> infilling_pb2.FillInResponse:
    """Put "x" into every blank, with a log-probability of -1 nat."""
    texts = [one.text or " ".join(one.words.words) for one in request.inputs]
    mark = request.blank or "___"
    return infilling_pb2.FillInResponse(
        servable=SERVABLE,
        sequences=[
            infilling_pb2.FilledSequence(text=text.replace(mark, "x"), blanks=_blanks(text, mark)) for text in texts
        ],
        timing=common_pb2.Timing(queue_ms=1.0, first_output_ms=2.0, total_ms=2.0),
    )


async def list_one(request: model_pb2.ListModelsRequest) -> model_pb2.ListModelsResponse:  # noqa: ARG001
    """List the one servable that answers everything."""
    return model_pb2.ListModelsResponse(models=[_MODEL])


async def get_one(request: model_pb2.GetModelRequest) -> model_pb2.GetModelResponse:  # noqa: ARG001
    """Tell about the one servable."""
    return model_pb2.GetModelResponse(model=_MODEL)


async def load_one(request: model_pb2.LoadModelRequest) -> model_pb2.LoadModelResponse:
    """Load any version."""
    return model_pb2.LoadModelResponse(model=_version_of(request.model, model_pb2.MODEL_STATE_READY))


async def unload_one(request: model_pb2.UnloadModelRequest) -> model_pb2.UnloadModelResponse:
    """Unload any version."""
    return model_pb2.UnloadModelResponse(model=_version_of(request.model, model_pb2.MODEL_STATE_UNLOADED))


def _version_of(reference: common_pb2.ModelRef, state: model_pb2.ModelState) -> model_pb2.Model:
    servable = common_pb2.ServableId(model=reference.name, version=reference.version or 1)
    return model_pb2.Model(servable=servable, task=manifest_pb2.TASK_LANGUAGE_MODEL, state=state)


_MODEL = model_pb2.Model(
    servable=SERVABLE,
    task=manifest_pb2.TASK_LANGUAGE_MODEL,
    state=model_pb2.MODEL_STATE_READY,
    provider="CPUExecutionProvider",
)


def score_steps(text: str, top: int) -> list[common_pb2.StepLogprobs]:
    """A log-probability of -1 nat for every character; ``top`` alternatives, at most one."""
    tokens = [common_pb2.TokenLogprob(token_id=ord(one), token=one, logprob=-1.0, rank=1) for one in text]
    return [common_pb2.StepLogprobs(chosen=token, top=[token] * min(top, 1)) for token in tokens]


def word_tag(word: re.Match[str], position: int, before: int = 0) -> tagging_pb2.Tag:
    """The label "X" for a word. Args: before: characters of text before the one that it was found in."""
    return tagging_pb2.Tag(
        token=word[0],
        label="X",
        score=0.5,
        offsets=common_pb2.Offsets(start=before + word.start(), end=before + word.end()),
        position=position,
    )


def _tags(text: str) -> list[tagging_pb2.Tag]:
    return [word_tag(word, position) for position, word in enumerate(re.finditer(r"\S+", text))]


def _blanks(text: str, mark: str) -> list[infilling_pb2.FilledBlank]:
    return [
        infilling_pb2.FilledBlank(
            position=len(text[: found.start()].split()),
            offsets=common_pb2.Offsets(start=found.start(), end=found.end()),
            candidates=[common_pb2.TokenLogprob(token_id=ord("x"), token="x", logprob=-1.0, rank=1)],  # noqa: S106
        )
        for found in re.finditer(re.escape(mark), text)
    ]
