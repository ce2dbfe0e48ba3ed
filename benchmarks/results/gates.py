"""The importance of LSTM gates: each gate fixed open in turn, on tiny_shakespeare.

A gate is open when it is 1 for every input: its weights are 0, its bias is 40, and both stay constant (Jozefowicz,
Zaremba and Sutskever 2015, section 3.2, leave gates out in the same way).

Axes: H units.
"""

# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import time
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.loadgen.recording import Json
from benchmarks.results.row import Outcome, Row
from seqserve.training.config import LanguageModelConfig
from seqserve.training.tasks.language_model import LanguageModelLearner
from seqserve.training.trainer.devices import prepare
from seqserve.training.trainer.interruption import Interruption
from seqserve.training.trainer.progress import ProgressListeners
from seqserve.training.trainer.trainer import Trainer

OPEN = 40.0  # a bias at which the sigmoid is 1 in float32
GATES = {"input": 0, "forget": 1, "output": 3}  # blocks of torch's weights: input, forget, cell, output
HIDDEN, EPOCHS = 256, 3


def fix_open(layer: nn.LSTM, block: int) -> None:
    """Sets a gate of a layer to 1 permanently. Args: block: Index of the gate in torch's order."""
    rows = slice(block * layer.hidden_size, (block + 1) * layer.hidden_size)

    def zero_gradient(gradient: Tensor) -> Tensor:
        held = gradient.clone()
        held[rows] = 0.0
        return held

    for name, parameter in layer.named_parameters():
        with torch.no_grad():
            parameter[rows] = OPEN if name == "bias_ih_l0" else 0.0
        parameter.register_hook(zero_gradient)


def loss_with(data: Path, gate: str | None) -> float:
    """Returns nats per character on the last tenth of the text after training with ``gate`` fixed open, or none."""
    config = LanguageModelConfig(
        data=(data / "tiny_shakespeare" / "input.txt",),
        hidden_size=HIDDEN,
        embedding_size=32,
        batch_size=32,
        window=64,
        epochs=EPOCHS,
        learning_rate=3e-3,
        dropout=0.05,
        threads=1,
    )
    prepare(config)
    torch.manual_seed(config.seed)
    learner = LanguageModelLearner(config)
    if gate is not None:
        (layer,) = learner.network.stack.layers
        assert isinstance(layer, nn.LSTM)
        fix_open(layer, GATES[gate])
    trainer = Trainer(learner, config)
    trainer.fit(
        save_best=lambda _: None,
        save_state=lambda: None,
        listener=ProgressListeners([]),
        stop_request=Interruption(),
    )
    return learner.final_metrics()["loss"]


def measure(data: Path, work: Path) -> Outcome:
    """Measures the LSTM, and the LSTM with each gate fixed open, with one thread."""
    del work
    start_s = time.process_time()
    whole = loss_with(data, None)
    table: list[Json] = [{"gate fixed open": "none", "nats": whole, "worse by": 0.0}]
    for gate in GATES:
        nats = loss_with(data, gate)
        table.append({"gate fixed open": gate, "nats": nats, "worse by": nats - whole})
    order = sorted(GATES, key=lambda gate: -next(line["nats"] for line in table if line["gate fixed open"] == gate))
    return Outcome(
        table=table,
        reached=" > ".join(order),
        passed=True,
        commands=["python -m benchmarks results gates --data DATA"],
        cpu_s=time.process_time() - start_s,
        notes=[
            f"LSTM 1 x {HIDDEN}, {EPOCHS} passes over tiny_shakespeare, nats per character on its last tenth, seed"
            " 0. With the input gate open, the cell adds every candidate; with the forget gate open, it never"
            " forgets."
        ],
    )


ROW = Row(
    name="gates",
    title="gates under the microscope: each LSTM gate fixed open in turn, loss on tiny_shakespeare",
    target="the order of importance, as found",
    reference="lecture notes say forget > input > output, after Jozefowicz et al. 2015",
    measure=measure,
)
