"""The adding problem: which cells remember two numbers over hundreds of steps.

Each step has a number in [0, 1) and a mark. Two steps are marked, one in each half; the target is the sum of their
numbers at the end. The constant answer 1 has a mean squared error of 1/6 (Hochreiter and Schmidhuber 1997, section 5.4;
the lengths are those of Tallec and Ollivier 2018, section 3).

Axes: T steps, B sequences, H units.
"""

# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.loadgen.recording import Json
from benchmarks.results.row import Outcome, Row
from seqserve.training.config import CellKind, NetworkConfig
from seqserve.training.layers import RecurrentStack

HIDDEN, BATCH, RATE, CLIP = 64, 50, 2e-3, 1.0
LENGTHS = (200, 400)
STEPS_MAX = 4000
LEARNED = 0.005  # an error below this ends a run
TEST, TEST_EVERY = 1000, 250
TRIVIAL = 1 / 6


@dataclass(frozen=True)
class Candidate:
    """A network under test.

    Attributes:
        name: Name on the page.
        cell: Kind of recurrent cell.
        forget_bias: Initial bias of the forget gate.
        chrono: Whether gate biases start with the chrono initialization.
    """

    name: str
    cell: CellKind
    forget_bias: float = 0.0
    chrono: bool = False


CANDIDATES = (
    Candidate("RNN", CellKind.RNN),
    Candidate("GRU", CellKind.GRU),
    Candidate("LSTM, forget bias 0", CellKind.LSTM),
    Candidate("LSTM, forget bias 1", CellKind.LSTM, forget_bias=1.0),
    Candidate("LSTM, chrono", CellKind.LSTM, chrono=True),
)


class Adder(nn.Module):
    """A recurrent layer and a linear head on its last output."""

    def __init__(self, candidate: Candidate, steps: int) -> None:
        super().__init__()
        config = NetworkConfig(
            cell=candidate.cell,
            hidden_size=HIDDEN,
            dropout=0.0,
            forget_bias=candidate.forget_bias,
            chrono_span=steps if candidate.chrono else None,
        )
        self.stack = RecurrentStack(config, 2, bidirectional=False)
        self.head = nn.Linear(HIDDEN, 1)

    def forward(self, x_TB2: Tensor) -> Tensor:
        """Predicts the sums (B,)."""
        y_TBH, _ = self.stack(x_TB2, None, self.stack.initial_state(x_TB2.shape[1]))
        sums_B: Tensor = self.head(y_TBH[-1]).squeeze(-1)
        return sums_B


def problems(steps: int, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draws sequences (T, B, 2) of numbers and marks, and the sums (B,) of the marked numbers."""
    numbers_TB = torch.rand(steps, count, generator=generator)
    marks_TB = torch.zeros(steps, count)
    for low, high in ((0, steps // 2), (steps // 2, steps)):
        marks_TB[torch.randint(low, high, (count,), generator=generator), torch.arange(count)] = 1.0
    return torch.stack((numbers_TB, marks_TB), dim=-1), (numbers_TB * marks_TB).sum(0)


def learn(candidate: Candidate, steps: int, seed: int = 0) -> Json:
    """Trains one network until its error is low or its steps are used up. Returns a line of the table."""
    torch.manual_seed(seed)
    network = Adder(candidate, steps)
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE)
    stream = torch.Generator().manual_seed(seed + 1)
    x_test, y_test = problems(steps, TEST, torch.Generator().manual_seed(seed + 2))
    start_s, error, step = time.process_time(), TRIVIAL, 0
    while step < STEPS_MAX and error >= LEARNED:
        for _ in range(TEST_EVERY):
            x, y = problems(steps, BATCH, stream)
            loss = nn.functional.mse_loss(network(x), y)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), CLIP)
            optimizer.step()
        step += TEST_EVERY
        with torch.no_grad():
            error = nn.functional.mse_loss(network(x_test), y_test).item()
    return {
        "network": candidate.name,
        "T": steps,
        "error": round(error, 4),
        "steps": step,
        "minutes": round((time.process_time() - start_s) / 60, 1),
    }


def measure(data: Path, work: Path) -> Outcome:
    """Measures all candidates at all lengths with one thread."""
    del data, work  # its sequences are drawn
    torch.set_num_threads(1)
    start_s = time.process_time()
    table = [learn(candidate, steps) for steps in LENGTHS for candidate in CANDIDATES]
    learned = {name: [line["error"] for line in table if line["network"] == name] for name in ("GRU", "LSTM, chrono")}
    rnn = [line["error"] for line in table if line["network"] == "RNN"]
    passed = all(error < 0.01 for errors in learned.values() for error in errors) and all(e > 0.1 for e in rnn)
    shown = "; ".join(f"{name} {' and '.join(map(str, errors))}" for name, errors in {**learned, "RNN": rnn}.items())
    return Outcome(
        table=table,
        reached=shown,
        passed=passed,
        commands=["python -m benchmarks results adding --data DATA"],
        cpu_s=time.process_time() - start_s,
        notes=[
            f"Mean squared error on {TEST} unseen sequences; hidden {HIDDEN}, batch {BATCH}, Adam at {RATE},"
            f" gradients clipped at norm {CLIP:g}, seed 0. A run ends below {LEARNED}, or after {STEPS_MAX} steps."
            " A constant prediction of 1 has an error of 0.1667."
        ],
    )


ROW = Row(
    name="adding",
    title="long memory: adding problem, T = 200 and 400, hidden 64",
    target="GRU and chrono LSTM < 0.01, RNN near 0.167",
    reference="plain torch: T = 100 GRU 0.0014, LSTM 0.0017, RNN 0.170; T = 300 GRU and chrono LSTM learn",
    measure=measure,
)
