"""Taggers of words or characters: sentences in batches of like length, labels on their own or in a chain (CRF)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer
from torch import Tensor, nn

from seqserve.training.config import TaggerConfig
from seqserve.training.data.conllu import Sentence
from seqserve.training.data.files import files
from seqserve.training.data.labels import scheme_of
from seqserve.training.data.mentions import Mentions
from seqserve.training.data.ratios import ratios_of_tokens
from seqserve.training.data.sentences import UNSEEN_LABEL, TagData, tag_data
from seqserve.training.data.sequences import SequenceBatch
from seqserve.training.data.spellings import unified
from seqserve.training.data.tagged import read_tagged
from seqserve.training.errors import DataError
from seqserve.training.evaluation.metrics import EvalResult, evaluate_tagger
from seqserve.training.export import tagger as export
from seqserve.training.export.model import ExportedModel, network_record, state_specs
from seqserve.training.layers import crf
from seqserve.training.networks import Tagger, parameter_count
from seqserve.training.runner import Runner
from seqserve.training.tasks.sequences import (
    TOKENS_MAX,
    SequenceLearner,
    config_of,
    config_record,
    frequent_pairs,
    initialize_with_ratios,
    refuse_too_few,
    refuse_too_long,
    sequence_tokenizer,
    sources,
    spellings,
    vocabulary_record,
    warn_unseen,
    word_details,
)
from seqserve.training.tasks.task import Task
from seqserve.training.tensors import long_tensor, tensor
from seqserve.v1 import manifest_pb2


class TaggerLearner(SequenceLearner[Tagger]):
    """A tagger and the sentences that it learns from."""

    def __init__(self, config: TaggerConfig) -> None:
        """Read the sentences, make the vocabulary and the labels of the training part, and the network.

        Raises: DataError if a file cannot be used, or there are fewer sentences than one batch or fewer than 2 labels.
        """
        paths = files(config.data), files(config.validation)
        parts = unified({path: read(path, config) for path in (*paths[0], *paths[1])})
        train, validation = ([sentence for path in part for sentence in parts[path]] for part in paths)
        self.labels: tuple[str, ...] = tuple(sorted({tag for sentence in train for tag in sentence.tags}))
        refuse_too_few(config.data[0], len(train), config.batch_size, "sentences")
        if len(self.labels) < 2:
            raise DataError(config.data[0], f"every word has the same tag, {train[0].tags[0]}: 2 tags are needed")
        scheme = scheme_of(self.labels)
        if scheme == manifest_pb2.LABEL_SCHEME_NONE and (
            config.constraints or config.mention_replacement or config.best_metric.startswith("span_")
        ):
            raise DataError(
                config.data[0],
                "constraints, replaced mentions and figures of spans are of labels in BIO or BIOES, unlike"
                f" {', '.join(self.labels[:3])}; leave --constraints and --mention-replacement out, and let"
                " --best-metric be loss or accuracy",
            )
        tokenizer = sequence_tokenizer(config, (sentence.words for sentence in train))
        self._sentences = train
        self._mentions = Mentions(train, scheme) if config.mention_replacement else None
        self._data, self._validation = (
            tag_data(part, tokenizer, self.labels, word_bytes_max=config.word_bytes_max) for part in (train, validation)
        )
        warn_unseen(self._validation.unseen, "the validation data")
        network = TAGGER.network(config, tokenizer, self.labels)
        if config.bigrams:
            network.features.set_known_pairs(frequent_pairs(config, self._data))
        if config.count_ratios:
            ratios_VL = ratios_of_tokens(self._data, tokenizer.get_vocab_size(), len(self.labels))
            initialize_with_ratios(config, network.features, ratios_VL)
        super().__init__(config, self._data, tokenizer, network)
        tokens = {path: sum(len(sentence.words) for sentence in part) for path, part in parts.items()}
        split = {"train": paths[0], "validation": paths[1]}
        self.sources = sources(config, {part: {path: tokens[path] for path in split[part]} for part in split})
        self._config = config

    def drawn(self, generator: np.random.Generator) -> TagData:
        """Returns the sentences of a pass, with some mentions replaced if configured."""
        if self._mentions is not None:
            part = self._config.mention_replacement
            sentences = [self._mentions.replaced(sentence, part, generator) for sentence in self._sentences]
            self._data = tag_data(sentences, self.tokenizer, self.labels, word_bytes_max=self._config.word_bytes_max)
        return self._data

    def loss(self, batch: SequenceBatch, generator: np.random.Generator) -> tuple[Tensor, int]:
        """Mean over the tokens: of the cross-entropy, or with a CRF of the rows' negative log-likelihood.

        The weighted cross-entropy of the edges of words is added to it, if they are learned too.
        """
        device = self.network.head.weight.device
        lengths_B = long_tensor(batch.lengths)
        y_TBH, _ = self.network.read(
            tensor(self.with_unknown(batch.tokens, generator), device),
            lengths_B,
            spellings(batch, device) if self._config.spells else None,
            self.network.stack.initial_state(len(lengths_B)),
        )
        loss = self._label_loss(self.network.head(y_TBH), batch)
        if self.network.edges is not None:
            edges_TB = long_tensor(self._data.edge_rows(batch), device)
            loss = loss + self._config.word_edges * nn.functional.cross_entropy(
                self.network.edges(y_TBH).flatten(0, 1), edges_TB.flatten(), ignore_index=UNSEEN_LABEL
            )
        return loss, batch.token_count

    def _label_loss(self, scores_TBL: Tensor, batch: SequenceBatch) -> Tensor:
        labels_TB = long_tensor(self._data.label_rows(batch), scores_TBL.device)
        if self.network.crf is not None:
            losses_B = crf.negative_log_likelihood(
                scores_TBL,
                labels_TB.clamp(min=0),
                long_tensor(batch.lengths, scores_TBL.device),
                self.network.crf(),
            )
            return losses_B.sum() / batch.token_count
        return nn.functional.cross_entropy(
            scores_TBL.flatten(0, 1),
            labels_TB.flatten(),
            ignore_index=UNSEEN_LABEL,
            label_smoothing=self._config.label_smoothing,
        )

    def evaluate(self) -> EvalResult:
        """Evaluates the network on the validation sentences."""
        manifest = TAGGER.describe(self._config, self.network, self.tokenizer, self.labels)
        manifest.states.extend(state_specs(self.network.stack))
        return evaluate_tagger(TAGGER.runner(self.network), manifest, self._validation)


def read(path: Path, config: TaggerConfig) -> list[Sentence]:
    """The tagged sentences of a file. Raises: DataError."""
    sentences = read_tagged(
        path,
        level=config.level,
        column=config.column,
        word_column=config.word_column,
        tag_column=config.tag_column,
        repair=config.repair,
        encoding=config.encoding,
    )
    refuse_too_long(path, (sentence.words for sentence in sentences))
    return sentences


class TaggerTask(Task[TaggerConfig, Tagger]):
    """Labels for the words or characters of sentences."""

    name = "tagger"
    summary = "train a tagger of words or characters on tagged sentences"
    kind = manifest_pb2.TASK_TAGGING
    config = TaggerConfig

    def learner(self, config: TaggerConfig) -> TaggerLearner:
        """Reads the sentences and builds the tagger."""
        return TaggerLearner(config)

    def network(self, config: TaggerConfig, tokenizer: Tokenizer, labels: Sequence[str]) -> Tagger:
        """Builds an untrained tagger."""
        return Tagger(config, tokenizer.get_vocab_size(), tuple(labels))

    def describe(
        self, config: TaggerConfig, network: Tagger, tokenizer: Tokenizer, labels: Sequence[str]
    ) -> manifest_pb2.Manifest:
        """Describes a tagger; weights that only training uses are not counted."""
        details = {"dropout": str(config.dropout), **word_details(config)}
        manifest = manifest_pb2.Manifest(
            task=self.kind,
            network=network_record(network.stack, parameter_count(network) - network.unserved, details),
            vocabulary=vocabulary_record(config, tokenizer),
            labels=export.labels_record(network, labels),
            limits=manifest_pb2.Limits(tokens_max=TOKENS_MAX),
            training=config_record(config),
        )
        manifest.network.crf = config.crf
        return manifest

    def graph(self, network: Tagger) -> ExportedModel:
        """Builds the graph of a tagger."""
        return export.exported(network)

    def runner(self, network: Tagger) -> export.TorchTagger:
        """Wraps a tagger."""
        return export.TorchTagger(network)

    def evaluate(
        self, run: Runner, manifest: manifest_pb2.Manifest, tokenizer: Tokenizer, data: Sequence[Path]
    ) -> EvalResult:
        """Evaluates a tagger on files of sentences with the word boundaries of the files."""
        config = config_of(manifest, TaggerConfig)
        paths = data or config.validation
        parts = unified({path: read(path, config) for path in files(paths)}, manifest.labels.scheme)
        sentences = [sentence for part in parts.values() for sentence in part]
        bytes_max = manifest.vocabulary.word_bytes_max or 1
        numbered = tag_data(sentences, tokenizer, manifest.labels.names, word_bytes_max=bytes_max)
        warn_unseen(numbered.unseen, ", ".join(map(str, paths)))
        return evaluate_tagger(run, manifest, numbered)


TAGGER = TaggerTask()
