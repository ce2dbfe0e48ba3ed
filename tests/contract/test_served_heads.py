"""Servables of every head: a CRF is decoded as training does it, and what has no RPC yet loads and is listed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc.aio
import pytest
import torch

from seqserve.server.errors import BrokenServableError
from seqserve.server.manifest import read_manifest
from seqserve.server.testing import running_server
from seqserve.training import crf
from seqserve.training.data.sequences import batch_of, sequence_data
from seqserve.training.tasks.sequences import spellings
from seqserve.training.tensors import CPU, long_tensor, tensor
from seqserve.training.tokenizer import word_spans
from seqserve.v1 import common_pb2 as common
from seqserve.v1 import manifest_pb2, model_pb2, tagging_pb2
from seqserve.v1.model_pb2_grpc import ModelServiceStub
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
    network = made.network.eval()
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


async def test_classifiers_and_infilling_models_load_and_are_listed(tmp_path: Path) -> None:
    make_classifier(tmp_path / "both-sides")
    for pooling in ("last", "mean", "max", "attention"):
        make_classifier(tmp_path / pooling, pooling=pooling, bidirectional=False, spelling=True)
    make_infiller(tmp_path / "blanks")
    async with running_server(tmp_path) as address, grpc.aio.insecure_channel(address) as channel:
        answer = await ModelServiceStub(channel).ListModels(model_pb2.ListModelsRequest())
    assert {model.servable.model: model.state for model in answer.models} == dict.fromkeys(
        ("attention", "blanks", "both-sides", "last", "max", "mean"), model_pb2.MODEL_STATE_READY
    )


def test_a_crf_whose_scores_do_not_fit_its_labels_is_refused(tmp_path: Path) -> None:
    def lose_one(manifest: manifest_pb2.Manifest) -> None:
        del manifest.labels.transitions[-1]

    made = make_tagger(tmp_path / "tagger", labels=LABELS, crf=True, edit=lose_one)
    with pytest.raises(BrokenServableError, match=r"24 of following .* with CRF; 5, 25 and 5 are expected"):
        read_manifest(made.folder)
