"""The training loop against bare torch: tokens per second of both, alternating, on one model and one text.

python -m benchmarks training [--rounds 9] [--steps 20] [--hidden-size 256] [--batch-size 64] [--window 64]

Bare torch runs the forward pass, the backward pass and the optimizer step on prepared tensors. The loop adds windows of
the text, gradient clipping, schedule, checks of the loss, progress bar and history. The ratio of processor times is
reported too, because other load on the machine hardly affects it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from io import StringIO
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from torch import Tensor, nn

from benchmarks.harness import machine
from seqserve.training.config import LanguageModelConfig
from seqserve.training.tasks.language_model import LanguageModelLearner
from seqserve.training.trainer.devices import prepare
from seqserve.training.trainer.interruption import Interruption
from seqserve.training.trainer.optimisation import make_optimizer
from seqserve.training.trainer.progress import bar
from seqserve.training.trainer.trainer import Trainer

SEED = 1
LETTERS = "abcdefghijklmnopqrstuvwxyz ,.;:!?'-\n" + "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def learner_of(arguments: argparse.Namespace) -> tuple[LanguageModelLearner, LanguageModelConfig]:
    """Makes a learner whose text gives ``--steps`` steps per epoch."""
    characters = arguments.batch_size * arguments.window * arguments.steps + 1
    text = "".join(np.random.default_rng(SEED).choice(list(LETTERS), characters))
    with tempfile.TemporaryDirectory() as folder:
        train, validation = Path(folder) / "train.txt", Path(folder) / "validation.txt"
        train.write_text(text, encoding="utf-8")
        validation.write_text(text[:100], encoding="utf-8")
        config = LanguageModelConfig(
            data=(train,),
            validation=(validation,),
            batch_size=arguments.batch_size,
            window=arguments.window,
            hidden_size=arguments.hidden_size,
            threads=arguments.threads,
            dropout=0.0,
            seed=SEED,
            epochs=1,
        )
        prepare(config)
        return LanguageModelLearner(config), config


def loop_tokens_s(learner: LanguageModelLearner, config: LanguageModelConfig) -> tuple[float, float]:
    """Runs one epoch of the loop with a progress bar. Returns tokens per second and processor time in seconds."""
    start_s = time.process_time()
    trainer = Trainer(learner, config)
    with bar(Console(file=StringIO(), force_terminal=True), trainer.steps) as watch:
        trainer.fit(save_best=lambda _: None, save_state=lambda: None, listener=watch, stop_request=Interruption())
    return trainer.history.points[-1]["tokens_per_s"], time.process_time() - start_s


def bare_tokens_s(
    learner: LanguageModelLearner, config: LanguageModelConfig, batches: list[Tensor]
) -> tuple[float, float]:
    """Runs the same steps without the loop. Returns tokens per second and processor time in seconds."""
    network = learner.network.train()
    optimizer = make_optimizer(network, config)
    state = network.stack.initial_state(config.batch_size)
    start_s, start_cpu_s = time.monotonic(), time.process_time()
    for inputs_TB, targets_TB in batches:
        optimizer.zero_grad()
        logits_TBV, state = network(inputs_TB, None, state)
        loss = nn.functional.cross_entropy(logits_TBV.flatten(0, 1), targets_TB.flatten())
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        state = tuple(each.detach() for each in state)
    tokens = len(batches) * config.batch_size * config.window
    return tokens / (time.monotonic() - start_s), time.process_time() - start_cpu_s


def main(argv: Sequence[str]) -> None:
    """Runs from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks training", description="The loop against bare torch.")
    parser.add_argument("--rounds", type=int, default=9, help="rounds, of which the medians count (%(default)s)")
    parser.add_argument("--steps", type=int, default=20, help="steps per round (%(default)s)")
    parser.add_argument("--hidden-size", type=int, default=256)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--window", type=int, default=64)
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args(argv)
    learner, config = learner_of(arguments)
    generator = torch.Generator().manual_seed(SEED)
    size = (2, arguments.window, arguments.batch_size)
    batches = [torch.randint(len(LETTERS), size, generator=generator) for _ in range(arguments.steps)]
    loops, bares, cpu = list[float](), list[float](), list[float]()
    for number in range(arguments.rounds + 1):
        loop, loop_cpu_s = loop_tokens_s(learner, config)
        bare, bare_cpu_s = bare_tokens_s(learner, config, batches)
        print(f"loop {loop:,.0f} tokens/s, bare {bare:,.0f} tokens/s, {loop / bare:.3f}", file=sys.stderr)
        if number:  # the first is the warm-up
            loops.append(loop)
            bares.append(bare)
            cpu.append(bare_cpu_s / loop_cpu_s)
    result = {
        "benchmark": "training",
        "loop_over_bare": statistics.median(loop / bare for loop, bare in zip(loops, bares, strict=True)),
        "loop_over_bare_cpu": statistics.median(cpu),
        "loop_tokens_s": statistics.median(loops),
        "bare_tokens_s": statistics.median(bares),
        "settings": vars(arguments),
        "machine": machine.machine(),
        "versions": machine.versions() | {"torch": version("torch")},
        "seed": SEED,
    }
    print(json.dumps(result))
