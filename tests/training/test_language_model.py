"""Truncated backpropagation: what is carried over a window's border, and what is not."""

from pathlib import Path

import pytest
import torch
from torch import nn

from seqserve.training.config import LanguageModelConfig
from seqserve.training.tasks.language_model import LanguageModelLearner
from seqserve.training.tokenizer import text_ids

TEXT = "to be, or not to be: that is the question\n" * 3


def a_learner(folder: Path, **changes: object) -> LanguageModelLearner:
    (folder / "text.txt").write_text(TEXT, encoding="utf-8")
    sizes = {"batch_size": 1, "window": 7, "hidden_size": 8, "embedding_size": 4, "dropout": 0.0, "state_reset": 0.0}
    return LanguageModelLearner(LanguageModelConfig.model_validate({"data": [folder / "text.txt"], **sizes, **changes}))


def whole_loss(learner: LanguageModelLearner, text: str) -> float:
    """The summed loss of one run over the text, without any window."""
    ids = torch.from_numpy(text_ids(learner.tokenizer, text)).long()
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
    seen = set(text_ids(learner.tokenizer, TEXT[7:14]).tolist())
    touched = {index for index, row in enumerate(embedding) if bool(row.any())}
    assert touched == seen


def test_a_stream_that_always_starts_anew_knows_nothing_of_the_window_before(tmp_path: Path) -> None:
    learner = a_learner(tmp_path, state_reset=1.0)
    losses = learner.losses(1)
    next(losses)
    second, tokens = next(losses)
    assert second.item() * tokens == pytest.approx(whole_loss(learner, TEXT[7:15]), rel=1e-5)
