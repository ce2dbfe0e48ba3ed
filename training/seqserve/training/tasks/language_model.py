"""Language models: backpropagation through time over parallel streams of texts."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from google.protobuf import json_format
from tokenizers import Tokenizer
from torch import Tensor, nn

from seqserve.training.config import LanguageModelConfig
from seqserve.training.config.language_model import TextLevel, Truncation
from seqserve.training.data.corpus import TokenText, corpus, cut_pieces, token_text
from seqserve.training.data.documents import Text, TextForm
from seqserve.training.data.files import files
from seqserve.training.data.share import WHOLE, Share
from seqserve.training.data.streams import NO_TARGET, Window
from seqserve.training.errors import DataError
from seqserve.training.evaluation.generate import Sampling, generate
from seqserve.training.evaluation.metrics import EvalResult, evaluate_language_model
from seqserve.training.export import language_model as export
from seqserve.training.export.model import ExportedModel, network_record, state_specs
from seqserve.training.layers import State
from seqserve.training.networks import LanguageModel, parameter_count
from seqserve.training.runner import Runner
from seqserve.training.tasks.task import Task
from seqserve.training.tensors import long_tensor, tensor
from seqserve.training.tokenizers.text import END, START, text_tokenizer, unknown_text_id
from seqserve.training.trainer import bptt
from seqserve.training.trainer.diagnosis import Norms, gradient_norms
from seqserve.training.trainer.distributed import no_loss
from seqserve.training.trainer.record import data_source
from seqserve.v1 import manifest_pb2

VALIDATION_STREAMS = 32
"""Streams of the validations between epochs; the final figures come from one stream."""
PROMPT_TOKENS_MAX = 100_000
GENERATE_TOKENS_MAX = 100_000
DEFAULT_TOKENS = 400
SAMPLE_TEMPERATURES = (0.0, 0.7, 1.0)
SAMPLE_PROMPT_TOKENS = 40
SAMPLE_TOKENS = 300
LEVELS = {
    TextLevel.CHARACTER: manifest_pb2.TOKEN_LEVEL_CHARACTER,
    TextLevel.BYTE: manifest_pb2.TOKEN_LEVEL_BYTE,
    TextLevel.WORD: manifest_pb2.TOKEN_LEVEL_WORD,
    TextLevel.BPE: manifest_pb2.TOKEN_LEVEL_SUBWORD,
}
BoolArray = npt.NDArray[np.bool_]


class LanguageModelLearner:
    """A language model and the text that it learns."""

    labels: tuple[str, ...] = ()

    def __init__(self, config: LanguageModelConfig) -> None:
        """Read the text, split it and number its tokens; make the network.

        Raises: DataError if a file cannot be used, or the text is too short for the batch and the window.
        """
        self._config = config
        train, validation = corpus(config)
        self.tokenizer = text_tokenizer(config, (piece.text for piece in cut_pieces(train, config.level)))
        self._train = token_text(train, self.tokenizer, config.level)
        _refuse_too_little(config, self._train)
        self._validation = token_text(validation, self.tokenizer, config.level)
        if not self._validation.targets:
            raise DataError(
                (config.validation or config.data)[0],
                f"{len(self._validation.ids)} {_names(config)} to validate on: 2 are needed",
            )
        self.network = LANGUAGE_MODEL.network(config, self.tokenizer, self.labels)
        self._steps = len(self._train.ids) if config.truncation is Truncation.FULL else config.window
        self._cut = config.cut if config.truncation is Truncation.RANDOM else 1.0
        windows = self._train.window_count(streams=config.batch_size, steps=self._steps)
        self.steps_per_epoch = math.ceil(windows * self._cut)
        self._state: State = ()

    @property
    def sources(self) -> list[manifest_pb2.DataSource]:
        """The texts; one that was split stands for both parts."""
        parts = {"train": self._train, "validation": self._validation}
        return [
            data_source(self._config, path, part, tokens)
            for part, text in parts.items()
            for path, tokens in text.tokens.items()
        ]

    def losses(self, epoch: int, first: int = 0, share: Share = WHOLE) -> Iterator[tuple[Tensor, int]]:
        """One pass over the text: the state is carried from window to window, gradients as far as is configured."""
        windows = self._train.windows(streams=self._config.batch_size, steps=self._steps)
        draw = np.random.default_rng((self._config.seed, epoch)).random
        for segment in islice(bptt.segments(windows, self._cut, draw), first, None):
            yield self._loss(segment, share)

    def _loss(self, segment: Sequence[Window], share: Share) -> tuple[Tensor, int]:
        """Computes the mean loss of windows without a gradient border, and counts their targets; advances the state."""
        device = self.network.head.weight.device
        total, count = torch.zeros((), device=device), 0
        for window in segment:
            inputs_TB, targets_TB = window.inputs[:, share.rows], window.targets[:, share.rows]
            if not (here := int((targets_TB != NO_TARGET).sum())):
                continue
            if count:
                self._state = bptt.over_border(self._state, self._cut)
            state = self._starting_state(window.begins[share.rows])
            logits_TBV, self._state = self.network(tensor(inputs_TB, device), None, state)
            targets = long_tensor(targets_TB, device).flatten()
            total = total + nn.functional.cross_entropy(
                logits_TBV.flatten(0, 1), targets, ignore_index=NO_TARGET, reduction="sum"
            )
            count += here
        self._state = tuple(each.detach() for each in self._state)
        return (total / count, count) if count else (no_loss(self.network), 0)

    def _starting_state(self, begins_B: BoolArray) -> State:
        """The state at the start of a window: that at the end of the one before, but for streams that begin a document.

        A model that only ever went on from a long past writes nonsense after a short prompt, so now and then a stream
        starts from the initial state.
        """
        initial = self.network.stack.initial_state(len(begins_B))
        if begins_B.all():
            return initial
        stays_B1 = torch.rand(len(begins_B), 1) >= self._config.state_reset
        goes_on_B1 = (stays_B1 & ~tensor(begins_B)[:, None]).to(initial[0].device)
        return tuple(torch.where(goes_on_B1, old, new) for old, new in zip(self._state, initial, strict=True))

    def state_dict(self) -> dict[str, Any]:
        """The states that the streams are in."""
        return {"state": list(self._state)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from the states that ``state_dict`` gave."""
        device = self.network.head.weight.device
        self._state = tuple(each.to(device) for each in state["state"])

    def validate(self) -> dict[str, float]:
        """Figures over the validation text in streams side by side."""
        return self._evaluated(min(VALIDATION_STREAMS, self._validation.streams_max))

    def final_metrics(self) -> dict[str, float]:
        """Figures over the validation text as one stream."""
        return self._evaluated(1)

    def gradient_norms(self) -> Norms:
        """How the loss at the end of the first validation window depends on the states before it."""
        whole_windows = max(self._validation.targets // self._config.window, 1)
        streams = min(VALIDATION_STREAMS, self._validation.streams_max, whole_windows)
        window = next(self._validation.windows(streams=streams, steps=self._config.window))
        rows = window.targets[-1] != NO_TARGET
        device = self.network.head.weight.device
        return gradient_norms(
            self.network, tensor(window.inputs[:, rows], device), long_tensor(window.targets[-1, rows], device)
        )

    def samples(self) -> str:
        """Generates continuations of the beginning of the validation text, at several temperatures."""
        prompt = self._validation.ids[:SAMPLE_PROMPT_TOKENS].tolist()
        parts = [f"Prompt:\n\n```\n{self.tokenizer.decode(prompt)}\n```"]
        for temperature in SAMPLE_TEMPERATURES:
            sampling = Sampling(temperature=temperature)
            drawn = generate(self.network, prompt, sampling=sampling, seed=self._config.seed, tokens_max=SAMPLE_TOKENS)
            parts.append(f"Temperature {temperature}:\n\n```\n{self.tokenizer.decode(drawn)}\n```")
        return "\n\n".join(parts)

    def _evaluated(self, streams: int) -> dict[str, float]:
        return evaluate_language_model(
            LANGUAGE_MODEL.runner(self.network), state_specs(self.network.stack), self._validation, streams=streams
        )


def _refuse_too_little(config: LanguageModelConfig, train: TokenText) -> None:
    """Refuse a text that does not fill one window of every stream."""
    data, streams = config.data[0], config.batch_size
    needed = streams * config.window + 1
    if not train.targets:
        raise DataError(data, f"{len(train.ids)} tokens to train on: 2 are needed, to predict one from the other")
    if len(train.starts) > 1 and len(train.starts) < streams:
        raise DataError(
            data, f"{len(train.starts)} documents to train on are less than one batch: --batch-size is {streams}"
        )
    if len(train.starts) == 1 and len(train.ids) < needed:
        raise DataError(
            data,
            f"{len(train.ids)} {_names(config)} to train on are less than one batch: --batch-size {streams} times"
            f" --window {config.window} needs {needed}; give a longer text, or smaller ones",
        )


def _names(config: LanguageModelConfig) -> str:
    return "characters" if config.level is TextLevel.CHARACTER else "tokens"


class LanguageModelTask(Task[LanguageModelConfig, LanguageModel]):
    """The next token of a text."""

    name = "lm"
    summary = "train a language model on texts"
    kind = manifest_pb2.TASK_LANGUAGE_MODEL
    config = LanguageModelConfig

    def learner(self, config: LanguageModelConfig) -> LanguageModelLearner:
        """Reads the text and builds the network."""
        return LanguageModelLearner(config)

    def network(self, config: LanguageModelConfig, tokenizer: Tokenizer, labels: Sequence[str]) -> LanguageModel:
        """Builds an untrained network."""
        del labels
        return LanguageModel(config, tokenizer.get_vocab_size())

    def describe(
        self, config: LanguageModelConfig, network: LanguageModel, tokenizer: Tokenizer, labels: Sequence[str]
    ) -> manifest_pb2.Manifest:
        """Describes a language model."""
        del labels
        return manifest_pb2.Manifest(
            task=self.kind,
            network=network_record(network.stack, parameter_count(network), {"dropout": str(config.dropout)}),
            vocabulary=manifest_pb2.Vocabulary(
                level=LEVELS[config.level],
                size=tokenizer.get_vocab_size(),
                start_token=tokenizer.token_to_id(START),
                end_token=tokenizer.token_to_id(END),
                unknown_token=unknown_text_id(tokenizer),
            ),
            limits=manifest_pb2.Limits(prompt_tokens_max=PROMPT_TOKENS_MAX, generate_tokens_max=GENERATE_TOKENS_MAX),
            generation=manifest_pb2.GenerationDefaults(max_tokens=DEFAULT_TOKENS),
        )

    def graph(self, network: LanguageModel) -> ExportedModel:
        """Builds the graph of a language model."""
        return export.exported(network)

    def runner(self, network: LanguageModel) -> export.TorchLanguageModel:
        """Wraps a language model."""
        return export.TorchLanguageModel(network)

    def evaluate(
        self, run: Runner, manifest: manifest_pb2.Manifest, tokenizer: Tokenizer, data: Sequence[Path]
    ) -> EvalResult:
        """Evaluates a language model on texts, read as in its training."""
        config = LanguageModelConfig.model_validate(json_format.MessageToDict(manifest.training.config))
        if data:
            source = Text(files(data), replace(TextForm.of(config), characters_max=None))
        else:
            _, source = corpus(config)
        text = token_text(source, tokenizer, config.level)
        if not text.targets:
            raise DataError((*data, *config.data)[0], f"{len(text.ids)} {_names(config)}: 2 are needed to predict one")
        return EvalResult(evaluate_language_model(run, manifest.states, text))


LANGUAGE_MODEL = LanguageModelTask()
