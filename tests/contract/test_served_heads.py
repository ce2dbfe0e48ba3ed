"""Servables of every head: served answers are those by which training judges a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc.aio
import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from seqserve.server.errors import BrokenServableError
from seqserve.server.model.manifest import read_manifest
from seqserve.server.testing import running_server
from seqserve.training.data.sequences import batch_of, sequence_data
from seqserve.training.evaluation.metrics import chosen_labels, sequence_inputs
from seqserve.training.int8 import quantized
from seqserve.training.layers import crf
from seqserve.training.runner import GraphRunner, initial_states
from seqserve.training.tasks.infilling import MASK
from seqserve.training.tasks.sequences import spellings
from seqserve.training.tensors import CPU, long_tensor, tensor
from seqserve.training.tokenizers.sequences import word_spans
from seqserve.v1 import classification_pb2, infilling_pb2, manifest_pb2, tagging_pb2
from seqserve.v1 import common_pb2 as common
from seqserve.v1.classification_pb2_grpc import ClassificationServiceStub
from seqserve.v1.infilling_pb2_grpc import InfillingServiceStub
from seqserve.v1.tagging_pb2_grpc import TaggingServiceStub
from tests.servables import make_classifier, make_infiller, make_tagger

LABELS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
TEXTS = ["The cat sat on the mat.", "a", "国 naïve unprecedentedly-long-words, 2026!", "Dog sat the " * 30]


@pytest.mark.parametrize(
    "settings",
    [
        {"crf": True},
        {"crf": True, "constraints": True},
        {"crf": True, "bidirectional": False, "spelling": False},
        {"bidirectional": False},
        {"precision": "int8", "crf": True},
        {"precision": "int8", "bidirectional": False, "cell": "gru"},
    ],
    ids=str,
)
async def test_served_rows_of_labels_are_those_of_training(tmp_path: Path, settings: dict[str, Any]) -> None:
    made = make_tagger(tmp_path / "tagger", labels=LABELS, **settings)
    async with running_server(tmp_path) as address, grpc.aio.insecure_channel(address) as channel:
        answer = await TaggingServiceStub(channel).Tag(
            tagging_pb2.TagRequest(
                model=common.ModelRef(name="tagger"), inputs=[tagging_pb2.TagInput(text=text) for text in TEXTS]
            )
        )
    network = quantized(made.network) if "precision" in settings else made.network.eval()
    cut = [[text[start:end] for start, end in word_spans(made.tokenizer, text)] for text in TEXTS]
    batch = batch_of(sequence_data(cut, made.tokenizer, word_bytes_max=9), range(len(cut)))
    lengths = long_tensor(batch.lengths)
    with torch.inference_mode():
        state = network.stack.initial_state(len(cut))
        scores, _ = network(tensor(batch.tokens), lengths, spellings(batch, CPU), state)
        path = scores.argmax(-1) if network.crf is None else crf.viterbi(scores, lengths, network.crf())
    for column, sequence in enumerate(answer.sequences):
        expected = [LABELS[label] for label in path[: int(lengths[column]), column].tolist()]
        assert [tag.label for tag in sequence.tags] == expected


@pytest.mark.parametrize(
    "settings",
    [
        {"multiple": True, "threshold": 0.2, "spelling": True},
        {"pooling": "attention"},
        {"precision": "int8", "pooling": "max", "bidirectional": False},
        *({"pooling": pooling, "bidirectional": False} for pooling in ("last", "mean", "max", "attention")),
    ],
    ids=str,
)
async def test_served_classes_are_those_of_training(tmp_path: Path, settings: dict[str, Any]) -> None:
    folder = make_classifier(tmp_path / "classifier", **settings)
    batch_settings = {"prefill_tokens_max": 8, "prefill_length_max": 4}  # the long text is read in pieces, where it may
    async with (
        running_server(tmp_path, batch=batch_settings) as address,
        grpc.aio.insecure_channel(address) as channel,
    ):
        answer = await ClassificationServiceStub(channel).Classify(
            classification_pb2.ClassifyRequest(
                model=common.ModelRef(name="classifier"),
                inputs=[classification_pb2.ClassifyInput(text=text) for text in TEXTS],
            )
        )
    manifest, tokenizer = read_manifest(folder), Tokenizer.from_file(str(folder / "tokenizer.json"))
    cut = [[text[start:end] for start, end in word_spans(tokenizer, text)] for text in TEXTS]
    names = list(manifest.labels.names)
    for words, reported in zip(cut, answer.classifications, strict=True):
        logits = graph_outputs(folder, manifest, tokenizer, words)["logits"][0].astype(np.float64)
        weights = 1 / (1 + np.exp(-logits)) if manifest.labels.multiple else np.exp(logits) / np.exp(logits).sum()
        assert reported.chosen == [names[label] for label in chosen_labels(logits, manifest.labels)]
        assert {one.label: one.score for one in reported.labels} == pytest.approx(
            dict(zip(names, weights, strict=True))
        )
        assert [one.score for one in reported.labels] == sorted((one.score for one in reported.labels), reverse=True)
        assert reported.tokens == len(words)


@pytest.mark.parametrize("bidirectional", [True, False])
async def test_blanks_are_filled_as_training_judges_them(tmp_path: Path, *, bidirectional: bool) -> None:
    folder = make_infiller(tmp_path / "blanks", bidirectional=bidirectional)
    texts = [["The", "___", "sat", "on", "the", "___", "."], ["___"], ["naïve", "___"] * 20]
    batch_settings = {"prefill_tokens_max": 8, "prefill_length_max": 4}
    async with (
        running_server(tmp_path, batch=batch_settings) as address,
        grpc.aio.insecure_channel(address) as channel,
    ):
        answer = await InfillingServiceStub(channel).FillIn(
            infilling_pb2.FillInRequest(
                model=common.ModelRef(name="blanks"),
                inputs=[infilling_pb2.FillInInput(words=common.Words(words=words)) for words in texts],
                top_k=3,
            )
        )
    manifest, tokenizer = read_manifest(folder), Tokenizer.from_file(str(folder / "tokenizer.json"))
    no_words = [manifest.vocabulary.unknown_token, manifest.vocabulary.mask_token]
    for words, reported in zip(texts, answer.sequences, strict=True):
        seen = [MASK if word == "___" else word for word in words]
        logits_TV = graph_outputs(folder, manifest, tokenizer, seen)["logits"][:, 0].astype(np.float64)
        places = [place for place, word in enumerate(seen) if word == MASK]
        assert [blank.position for blank in reported.blanks] == places
        for place, blank in zip(places, reported.blanks, strict=True):
            logprobs = logits_TV[place] - np.log(np.exp(logits_TV[place]).sum())
            likeliest = [token for token in np.argsort(-logprobs, kind="stable") if token not in no_words][:3]
            assert [one.token_id for one in blank.candidates] == likeliest
            assert [one.logprob for one in blank.candidates] == pytest.approx(logprobs[likeliest], abs=1e-5)


def graph_outputs(
    folder: Path, manifest: manifest_pb2.Manifest, tokenizer: Tokenizer, words: list[str]
) -> dict[str, np.ndarray]:
    """What the graph gives for one text alone, run as training's own evaluation runs it."""
    batch = batch_of(sequence_data([words], tokenizer, word_bytes_max=manifest.vocabulary.word_bytes_max or 1), [0])
    return GraphRunner((folder / "model.onnx").read_bytes())(
        {**sequence_inputs(batch, manifest), **initial_states(manifest.states, 1)}
    )


def test_a_crf_whose_scores_do_not_fit_its_labels_is_refused(tmp_path: Path) -> None:
    def lose_one(manifest: manifest_pb2.Manifest) -> None:
        del manifest.labels.transitions[-1]

    made = make_tagger(tmp_path / "tagger", labels=LABELS, crf=True, edit=lose_one)
    with pytest.raises(BrokenServableError, match=r"24 of following .* with CRF; 5, 25 and 5 are expected"):
        read_manifest(made.folder)
