import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from seqserve.training.cli.main import main
from seqserve.training.config import CellKind, LanguageModelConfig
from seqserve.training.networks import LanguageModel
from seqserve.training.trainer.diagnosis import gradient_norms

STEPS, ROWS, VOCABULARY = 12, 3, 5


def measured(scale: float) -> tuple[LanguageModel, Tensor, Tensor, dict[str, list[float]]]:
    """Norms in a ReLU network whose recurrent weights multiply by ``scale`` and whose units are all on."""
    torch.manual_seed(0)
    settings = {"data": ["text"], "cell": CellKind.RNN_RELU, "hidden_size": 4, "embedding_size": 4, "dropout": 0}
    network = LanguageModel(LanguageModelConfig.model_validate(settings), VOCABULARY).eval()
    with torch.no_grad():
        for name, weight in network.stack.named_parameters():
            if "hh" in name and weight.dim() == 2:
                weight.copy_(scale * torch.eye(4))
            elif "bias" in name:
                weight.fill_(10.0)
    inputs, targets = torch.randint(VOCABULARY, (STEPS, ROWS)), torch.randint(VOCABULARY, (ROWS,))
    return network, inputs, targets, gradient_norms(network, inputs, targets)


@pytest.mark.parametrize("scale", [0.5, 1.0, 1.5])
def test_the_norm_changes_by_the_recurrent_weights_at_every_step_back(scale: float) -> None:
    *_, norms = measured(scale)
    assert list(norms) == ["h0"]
    assert len(norms["h0"]) == STEPS - 1
    ratios = [further / nearer for nearer, further in zip(norms["h0"], norms["h0"][1:], strict=False)]
    assert ratios == pytest.approx([scale] * (STEPS - 2), rel=1e-4)


def test_the_nearest_norm_is_that_of_the_head_and_one_step() -> None:
    network, inputs, targets, norms = measured(0.5)
    with torch.no_grad():
        logits, _ = network(inputs, None, network.stack.initial_state(ROWS))
    error = torch.softmax(logits[-1], -1) - torch.nn.functional.one_hot(targets, VOCABULARY)
    assert norms["h0"][0] == pytest.approx(
        0.5 * float((error @ network.head.weight.detach()).norm(dim=1).mean()), rel=1e-4
    )


def test_the_log_and_the_plot_are_in_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text.txt").write_text("the quick brown fox jumps over the lazy dog.\n" * 12, encoding="utf-8")
    sizes = ["--hidden-size", "8", "--batch-size", "4", "--window", "16", "--threads", "1", "--layers", "2"]
    arguments = ["--data", "text.txt", "--out", "models/lm", "--epochs", "2", "--diagnose", "gradients"]
    assert main(["lm", *arguments, *sizes]) == 0
    lines = [json.loads(line) for line in Path("runs/lm/report/gradients.jsonl").read_text("utf-8").splitlines()]
    assert [line["step"] for line in lines] == [8, 16]
    assert {name: len(norms) for name, norms in lines[0]["norms"].items()} == dict.fromkeys(
        ["h0", "c0", "h1", "c1"], 15
    )
    assert Path("runs/lm/report/gradients.png").read_bytes()[:4] == b"\x89PNG"
    assert "gradients after step 16: h0 " in capsys.readouterr().err
