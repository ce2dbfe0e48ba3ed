"""Truncated backpropagation: states cross the border of a window, gradients don't."""

import math
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from seqserve.training.config import LanguageModelConfig
from seqserve.training.config.language_model import TextLevel
from seqserve.training.errors import DataError
from seqserve.training.tasks.language_model import LanguageModelLearner

TEXT = "to be, or not to be: that is the question\n" * 3


def a_learner(folder: Path, *, text: str = TEXT, **changes: object) -> LanguageModelLearner:
    (folder / "text.txt").write_text(text, encoding="utf-8")
    sizes = {"batch_size": 1, "window": 7, "hidden_size": 8, "embedding_size": 4, "dropout": 0.0, "state_reset": 0.0}
    return LanguageModelLearner(LanguageModelConfig.model_validate({"data": [folder / "text.txt"], **sizes, **changes}))


def whole_loss(learner: LanguageModelLearner, text: str) -> float:
    """The summed loss of one run over the text, without any window."""
    return whole_loss_of_ids(learner, learner.tokenizer.encode(text).ids)


def whole_loss_of_ids(learner: LanguageModelLearner, tokens: list[int]) -> float:
    ids = torch.tensor(tokens)
    with torch.inference_mode():
        logits, _ = learner.network(ids[:-1, None], None, learner.network.stack.initial_state(1))
        return float(nn.functional.cross_entropy(logits[:, 0], ids[1:], reduction="sum"))


def test_the_state_is_carried_from_window_to_window(tmp_path: Path) -> None:
    learner = a_learner(tmp_path)
    text = TEXT[: len(TEXT) - round(len(TEXT) * 0.1)]
    losses = [(loss.item(), tokens) for loss, tokens in learner.losses(1)]
    assert len(losses) == learner.steps_per_epoch
    assert sum(loss * tokens for loss, tokens in losses) == pytest.approx(whole_loss(learner, text), rel=1e-5)


def test_gradients_stop_at_the_border_of_a_window(tmp_path: Path) -> None:
    learner = a_learner(tmp_path)
    losses = learner.losses(1)
    next(losses)
    second, _ = next(losses)
    second.backward()  # type: ignore[no-untyped-call]
    embedding = learner.network.embedding.weight.grad
    assert embedding is not None
    seen = set(learner.tokenizer.encode(TEXT[7:14]).ids)
    touched = {index for index, row in enumerate(embedding) if bool(row.any())}
    assert touched == seen


def test_a_stream_that_always_starts_anew_knows_nothing_of_the_window_before(tmp_path: Path) -> None:
    learner = a_learner(tmp_path, state_reset=1.0)
    losses = learner.losses(1)
    next(losses)
    second, tokens = next(losses)
    assert second.item() * tokens == pytest.approx(whole_loss(learner, TEXT[7:15]), rel=1e-5)


def test_no_state_goes_from_one_document_into_the_next(tmp_path: Path) -> None:
    documents = ["to be, or not", "to be:", "that is the question\n", "or not"]
    learner = a_learner(
        tmp_path, document_separator="|", validation_fraction=0.25, batch_size=2, text="|".join(documents)
    )
    total = sum(loss.item() * tokens for loss, tokens in learner.losses(1))
    assert total == pytest.approx(sum(whole_loss(learner, document) for document in documents[:3]), rel=1e-5)


def test_documents_are_judged_one_by_one_however_many_run_side_by_side(tmp_path: Path) -> None:
    documents = ["to be, or not", "to be:", "not to", "be, or root: no ton", "to: bent"]
    learner = a_learner(
        tmp_path, document_separator="|", validation_fraction=0.6, batch_size=2, text="|".join(documents)
    )
    learner.network.eval()
    expected = sum(whole_loss(learner, document) for document in documents[2:])
    targets = sum(len(document) - 1 for document in documents[2:])
    for figures in (learner.validate(), learner.final_metrics()):
        assert figures["loss"] == pytest.approx(expected / targets, rel=1e-5)


@pytest.mark.parametrize("level", list(TextLevel))
def test_bits_per_character_are_those_of_the_text_whatever_the_tokens(tmp_path: Path, level: TextLevel) -> None:
    learner = a_learner(tmp_path, level=level, vocabulary_max=270, start_token=True, text=TEXT)
    learner.network.eval()
    text = TEXT[len(TEXT) - round(len(TEXT) * 0.1) :]
    start = learner.tokenizer.token_to_id("<s>")
    assert start is not None
    nats = whole_loss_of_ids(learner, [start, *learner.tokenizer.encode(text).ids])
    bits_per_character = learner.final_metrics()["bits_per_character"]
    assert bits_per_character == pytest.approx(nats / math.log(2) / len(text), rel=1e-5)


def test_fewer_documents_than_a_batch_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="2 documents to train on are less than one batch: --batch-size is 8"):
        a_learner(tmp_path, document_separator="|", batch_size=8, text="ab|ba|ab")


def test_a_bidirectional_model_is_refused_with_the_reason() -> None:
    with pytest.raises(ValidationError, match="the backward direction reads the token to"):
        LanguageModelConfig.model_validate({"data": ["a"], "bidirectional": True})
