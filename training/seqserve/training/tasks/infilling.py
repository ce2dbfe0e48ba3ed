"""Infilling models: predict the token in a blank from its context."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer
from torch import Tensor, nn

from seqserve.training.config import InfillingConfig, ReadingLevel
from seqserve.training.data.blanks import blank_places
from seqserve.training.data.conllu import read_conllu
from seqserve.training.data.files import files, kind
from seqserve.training.data.padding import inside
from seqserve.training.data.sequences import SequenceBatch, sequence_data
from seqserve.training.data.tagged import CONLLU
from seqserve.training.data.text import read_lines
from seqserve.training.errors import DataError
from seqserve.training.evaluation.metrics import EvalResult, evaluate_infilling
from seqserve.training.export import infilling as export
from seqserve.training.export.model import ExportedModel, network_record
from seqserve.training.networks import Infiller, parameter_count
from seqserve.training.runner import Runner
from seqserve.training.tasks.sequences import (
    TOKENS_MAX,
    SequenceLearner,
    config_of,
    config_record,
    refuse_too_few,
    refuse_too_long,
    sequence_tokenizer,
    sources,
    vocabulary_record,
)
from seqserve.training.tasks.task import Task
from seqserve.training.tensors import long_tensor, tensor
from seqserve.training.tokenizers.sequences import word_spans, word_tokenizer
from seqserve.v1 import manifest_pb2

MASK = "<mask>"
"""The token that stands for a blank."""
NO_TARGET = -1


class InfillingLearner(SequenceLearner[Infiller]):
    """An infilling model and the sequences that it learns from."""

    labels: tuple[str, ...] = ()

    def __init__(self, config: InfillingConfig) -> None:
        """Read the sequences, make the vocabulary of the training part, and the network.

        Raises: DataError if a file cannot be used, or there are fewer sequences than one batch.
        """
        paths = {"train": files(config.data), "validation": files(config.validation)}
        parts = {part: {path: read(path, config) for path in paths[part]} for part in paths}
        train, validation = ([sequence for found in part.values() for sequence in found] for part in parts.values())
        refuse_too_few(config.data[0], len(train), config.batch_size, "sequences")
        tokenizer = sequence_tokenizer(config, train, special=[MASK])
        self._mask = np.int32(mask_id(tokenizer))
        data, self._validation = (sequence_data(part, tokenizer, word_bytes_max=1) for part in (train, validation))
        super().__init__(config, data, tokenizer, INFILLING.network(config, tokenizer, ()))
        tokens = {part: {path: sum(map(len, found)) for path, found in parts[part].items()} for part in parts}
        self.sources = sources(config, tokens)
        self._config = config

    def loss(self, batch: SequenceBatch, generator: np.random.Generator) -> tuple[Tensor, int]:
        """Mean cross-entropy of all tokens, blank or not: no token sees itself."""
        device = self.network.head.weight.device
        blank_TB = blank_places(batch, self._config.blank_fraction, generator)
        seen_TB = np.where(blank_TB, self._mask, self.with_unknown(batch.tokens, generator))
        lengths_B = long_tensor(batch.lengths)
        logits_TBV, _ = self.network(tensor(seen_TB, device), lengths_B, self.network.initial_state(len(lengths_B)))
        inside_TB = inside(batch.lengths, len(batch.tokens)).T
        targets_TB = long_tensor(np.where(inside_TB, batch.tokens, NO_TARGET), device)
        loss = nn.functional.cross_entropy(
            logits_TBV.flatten(0, 1),
            targets_TB.flatten(),
            ignore_index=NO_TARGET,
            label_smoothing=self._config.label_smoothing,
        )
        return loss, batch.token_count

    def evaluate(self) -> EvalResult:
        """Evaluates the network on the validation sequences."""
        manifest = INFILLING.describe(self._config, self.network, self.tokenizer, self.labels)
        manifest.states.extend(export.carried_states(self.network))
        return evaluate_infilling(
            INFILLING.runner(self.network), manifest, self._validation, self._config.blank_fraction
        )


def mask_id(tokenizer: Tokenizer) -> int:
    """Id of the token that stands for a blank. Raises: ValueError if the tokenizer has none."""
    if (token := tokenizer.token_to_id(MASK)) is None:
        raise ValueError("the tokenizer has no token for blanks")
    return token


def read(path: Path, config: InfillingConfig) -> list[tuple[str, ...]]:
    """The sequences of a file: the sentences of CoNLL-U, or the lines of a text. Raises: DataError."""
    if kind(path) == CONLLU:
        sentences = read_conllu(path, encoding=config.encoding)
        by_words = config.level is ReadingLevel.WORD
        found = [sentence.words if by_words else tuple("".join(sentence.words)) for sentence in sentences]
    else:
        cutter = word_tokenizer((), size_max=1, count_min=1, lowercase=config.lowercase)
        lines = (line for _, line in read_lines(path, config.encoding))
        found = [
            tuple(line[start:end] for start, end in word_spans(cutter, line))
            if config.level is ReadingLevel.WORD
            else tuple(line)
            for line in lines
            if line.strip()
        ]
    if not found:
        raise DataError(path, "no sequences: expected CoNLL-U, or a text with one a line")
    refuse_too_long(path, found)
    return found


class InfillingTask(Task[InfillingConfig, Infiller]):
    """Tokens for the blanks of a text."""

    name = "infilling"
    summary = "train a model of words for the blanks of a text"
    kind = manifest_pb2.TASK_INFILLING
    config = InfillingConfig

    def learner(self, config: InfillingConfig) -> InfillingLearner:
        """Reads the sequences and builds the network."""
        return InfillingLearner(config)

    def network(self, config: InfillingConfig, tokenizer: Tokenizer, labels: Sequence[str]) -> Infiller:
        """Builds an untrained network."""
        del labels
        return Infiller(config, tokenizer.get_vocab_size())

    def describe(
        self, config: InfillingConfig, network: Infiller, tokenizer: Tokenizer, labels: Sequence[str]
    ) -> manifest_pb2.Manifest:
        """Describes an infilling model."""
        del labels
        details = {"dropout": str(config.dropout), "tied_weights": str(config.tied_weights).lower()}
        manifest = manifest_pb2.Manifest(
            task=self.kind,
            network=network_record(network.stack, parameter_count(network), details),
            vocabulary=vocabulary_record(config, tokenizer),
            limits=manifest_pb2.Limits(tokens_max=TOKENS_MAX),
            training=config_record(config),
        )
        manifest.vocabulary.mask_token = mask_id(tokenizer)
        manifest.network.bidirectional = config.bidirectional
        return manifest

    def graph(self, network: Infiller) -> ExportedModel:
        """Builds the graph of an infilling model."""
        return export.exported(network)

    def runner(self, network: Infiller) -> export.TorchInfiller:
        """Wraps an infilling model."""
        return export.TorchInfiller(network)

    def evaluate(
        self, run: Runner, manifest: manifest_pb2.Manifest, tokenizer: Tokenizer, data: Sequence[Path]
    ) -> EvalResult:
        """Evaluates an infilling model on files of sequences."""
        config = config_of(manifest, InfillingConfig)
        sequences = [sequence for path in files(data or config.validation) for sequence in read(path, config)]
        numbered = sequence_data(sequences, tokenizer, word_bytes_max=1)
        return evaluate_infilling(run, manifest, numbered, config.blank_fraction)


INFILLING = InfillingTask()
