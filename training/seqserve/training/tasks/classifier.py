"""Classifiers of texts: one label for each, or several that hold or not."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tokenizers import Tokenizer
from torch import Tensor, nn

from seqserve.training.config import ClassifierConfig, ReadingLevel
from seqserve.training.data.files import labelled_files
from seqserve.training.data.labelled import LabelledFormat, read_labelled
from seqserve.training.data.ratios import ratios_of_texts
from seqserve.training.data.sequences import SequenceBatch
from seqserve.training.data.split import shuffled_parts
from seqserve.training.data.texts import ClassData, class_data
from seqserve.training.errors import DataError
from seqserve.training.evaluation.metrics import EvalResult, evaluate_classifier
from seqserve.training.export import classifier as export
from seqserve.training.export.model import ExportedModel, network_record
from seqserve.training.networks import Classifier, parameter_count
from seqserve.training.runner import Runner
from seqserve.training.tasks.sequences import (
    TOKENS_MAX,
    SequenceLearner,
    config_of,
    config_record,
    frequent_pairs,
    initialize_with_ratios,
    refuse_too_few,
    sequence_tokenizer,
    sources,
    spellings,
    vocabulary_record,
    warn_unseen,
    word_details,
)
from seqserve.training.tasks.task import Task
from seqserve.training.tensors import long_tensor, tensor
from seqserve.training.tokenizers.sequences import word_spans, word_tokenizer
from seqserve.v1 import manifest_pb2

VALIDATION_FRACTION = 0.1
"""Part of the texts to validate on where nothing is said."""


class Text(NamedTuple):
    """A labelled text, cut into tokens, and the file that it is from."""

    tokens: tuple[str, ...]
    labels: tuple[str, ...]
    path: Path


class ClassifierLearner(SequenceLearner[Classifier]):
    """A classifier and the texts that it learns from."""

    def __init__(self, config: ClassifierConfig) -> None:
        """Read the texts, make the vocabulary and the labels of the training part, and the network.

        Raises: DataError if a file cannot be used, or there are fewer texts than one batch or fewer than 2 labels.
        """
        train, validation = parts(config)
        refuse_too_few(config.data[0], len(train), config.batch_size, "texts")
        self.labels: tuple[str, ...] = tuple(sorted({name for text in train for name in text.labels}))
        if len(self.labels) < 2:
            message = " and ".join(self.labels) or "none"
            raise DataError(config.data[0], f"every text has the same label, {message}: 2 labels are needed")
        tokenizer = sequence_tokenizer(config, (text.tokens for text in train))
        self._data, self._validation = (numbered(part, tokenizer, self.labels, config) for part in (train, validation))
        warn_unseen(self._validation.unseen, "the validation data")
        network = CLASSIFIER.network(config, tokenizer, self.labels)
        if config.bigrams:
            network.features.set_known_pairs(frequent_pairs(config, self._data))
        if config.count_ratios:
            initialize_with_ratios(config, network.features, ratios_of_texts(self._data, tokenizer.get_vocab_size()))
        super().__init__(config, self._data, tokenizer, network)
        self.sources = sources(config, {"train": tokens_of(train), "validation": tokens_of(validation)})
        self._config = config

    def loss(self, batch: SequenceBatch, generator: np.random.Generator) -> tuple[Tensor, int]:
        """Mean over the texts: of the cross-entropy, or with several labels of each label's binary cross-entropy."""
        device = self.network.head.weight.device
        lengths_B = long_tensor(batch.lengths)
        logits_BL, _ = self.network(
            tensor(self.with_unknown(batch.tokens, generator), device),
            lengths_B,
            spellings(batch, device) if self._config.spells else None,
            self.network.initial_state(len(lengths_B)),
        )
        targets_BL = tensor(self._data.targets(batch), device).to(logits_BL.dtype)
        smoothing = self._config.label_smoothing
        if self._config.multiple:
            smoothed_BL = targets_BL * (1 - smoothing) + smoothing / 2
            loss = nn.functional.binary_cross_entropy_with_logits(logits_BL, smoothed_BL)
        else:
            loss = nn.functional.cross_entropy(logits_BL, targets_BL, label_smoothing=smoothing)
        return loss, batch.token_count

    def evaluate(self) -> EvalResult:
        """Evaluates the network on the validation texts."""
        manifest = CLASSIFIER.describe(self._config, self.network, self.tokenizer, self.labels)
        manifest.states.extend(export.carried_states(self.network))
        return evaluate_classifier(CLASSIFIER.runner(self.network), manifest, self._validation)


def parts(config: ClassifierConfig) -> tuple[list[Text], list[Text]]:
    """The texts to train on, and those to validate on: given apart, or drawn. Raises: DataError."""
    data = read(config.data, config)
    if config.validation:
        apart = read(config.validation, config)
        if not config.test_fraction:
            return data, apart
        return shuffled_parts(data, validation=0, test=config.test_fraction, seed=config.split_seed).train, apart
    fraction = config.validation_fraction or VALIDATION_FRACTION
    drawn = shuffled_parts(data, validation=fraction, test=config.test_fraction, seed=config.split_seed)
    if not drawn.validation:
        raise DataError(config.data[0], f"of {len(data)} texts none is left to validate on: give --validation")
    return drawn.train, drawn.validation


def read(given: Iterable[Path], config: ClassifierConfig) -> list[Text]:
    """The labelled texts of files, cut into tokens. Raises: DataError."""
    form = LabelledFormat(
        config.text_column, config.label_column, config.label_separator if config.multiple else "", config.encoding
    )
    cutter = word_tokenizer((), size_max=1, count_min=1, lowercase=config.lowercase)
    texts = list[Text]()
    for file in labelled_files(list(given)):
        for text in read_labelled(file, form):
            if not config.multiple and len(text.labels) != 1:
                raise DataError(
                    file.path, f"{len(text.labels)} labels: 1 is expected without --multiple", line=text.line
                )
            tokens = (
                tuple(text.text[start:end] for start, end in word_spans(cutter, text.text))
                if config.level is ReadingLevel.WORD
                else tuple(text.text)
            )
            if not tokens:
                raise DataError(file.path, f"no words in {text.text!r}", line=text.line)
            if len(tokens) > TOKENS_MAX:
                raise DataError(
                    file.path,
                    f"the text has {len(tokens)} tokens, at most {TOKENS_MAX} are taken: shorten or split it",
                    line=text.line,
                )
            texts.append(Text(tokens, text.labels, file.path))
    return texts


def tokens_of(texts: Iterable[Text]) -> dict[Path, int]:
    """How many tokens of each file are among these texts."""
    counts = dict[Path, int]()
    for text in texts:
        counts[text.path] = counts.get(text.path, 0) + len(text.tokens)
    return counts


def numbered(texts: Sequence[Text], tokenizer: Tokenizer, labels: Sequence[str], config: ClassifierConfig) -> ClassData:
    """Texts as numbers."""
    cut, names = [text.tokens for text in texts], [text.labels for text in texts]
    return class_data(cut, names, tokenizer, tuple(labels), word_bytes_max=config.word_bytes_max)


class ClassifierTask(Task[ClassifierConfig, Classifier]):
    """Labels for whole texts."""

    name = "classifier"
    summary = "train a classifier of texts"
    kind = manifest_pb2.TASK_CLASSIFICATION
    config = ClassifierConfig

    def learner(self, config: ClassifierConfig) -> ClassifierLearner:
        """Reads the texts and builds the classifier."""
        return ClassifierLearner(config)

    def network(self, config: ClassifierConfig, tokenizer: Tokenizer, labels: Sequence[str]) -> Classifier:
        """Builds an untrained classifier."""
        return Classifier(config, tokenizer.get_vocab_size(), len(labels))

    def describe(
        self, config: ClassifierConfig, network: Classifier, tokenizer: Tokenizer, labels: Sequence[str]
    ) -> manifest_pb2.Manifest:
        """Describes a classifier."""
        details = {"dropout": str(config.dropout), "pooling": config.pooling, **word_details(config)}
        return manifest_pb2.Manifest(
            task=self.kind,
            network=network_record(network.stack, parameter_count(network), details),
            vocabulary=vocabulary_record(config, tokenizer),
            labels=manifest_pb2.Labels(
                names=labels,
                scheme=manifest_pb2.LABEL_SCHEME_NONE,
                multiple=config.multiple,
                threshold=config.threshold if config.multiple else 0.0,
            ),
            limits=manifest_pb2.Limits(tokens_max=TOKENS_MAX),
            training=config_record(config),
        )

    def graph(self, network: Classifier) -> ExportedModel:
        """Builds the graph of a classifier."""
        return export.exported(network)

    def runner(self, network: Classifier) -> export.TorchClassifier:
        """Wraps a classifier."""
        return export.TorchClassifier(network)

    def evaluate(
        self, run: Runner, manifest: manifest_pb2.Manifest, tokenizer: Tokenizer, data: Sequence[Path]
    ) -> EvalResult:
        """Evaluates a classifier on files of labelled texts."""
        config = config_of(manifest, ClassifierConfig)
        texts = read(data, config) if data else parts(config)[1]
        numbered_texts = numbered(texts, tokenizer, manifest.labels.names, config)
        warn_unseen(numbered_texts.unseen, ", ".join(map(str, data)) or "the validation data")
        return evaluate_classifier(run, manifest, numbered_texts)


CLASSIFIER = ClassifierTask()
