"""Taggers of words: sentences in batches of like length, rare words trained as unknown some of the time."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer
from torch import Tensor, nn

from seqserve.training import evaluate
from seqserve.training.checkpoint import Checkpoint
from seqserve.training.config import TagColumn, TaggerConfig
from seqserve.training.data.conllu import read_conllu
from seqserve.training.data.sentences import UNSEEN_LABEL, TagBatch, TagData, batch_of, memberships, tag_data
from seqserve.training.data.streams import IntArray
from seqserve.training.distributed import WHOLE, Share, no_loss
from seqserve.training.errors import DataError
from seqserve.training.export import tagger as export
from seqserve.training.export.model import network_record
from seqserve.training.networks import Tagger, parameter_count
from seqserve.training.record import data_source
from seqserve.training.runner import Runner
from seqserve.training.tasks.task import Exportable, Task
from seqserve.training.tensors import long_tensor, tensor
from seqserve.training.tokenizer import unknown_id, word_tokenizer
from seqserve.v1 import manifest_pb2

DoubleArray = npt.NDArray[np.float64]

TOKENS_MAX = 4096


class TaggerLearner:
    """A tagger and the sentences that it learns from."""

    def __init__(self, config: TaggerConfig) -> None:
        """Read the sentences, make the vocabulary and the labels of the training part, and the network.

        Raises: DataError if a file cannot be used, or there are fewer sentences than one batch or fewer than 2 labels.
        """
        self._config = config
        sentences = {path: read_conllu(path, config.column) for path in (*config.data, *config.validation)}
        self._tokens = {path: sum(len(s.words) for s in part) for path, part in sentences.items()}
        train = [sentence for path in config.data for sentence in sentences[path]]
        self.labels: tuple[str, ...] = tuple(sorted({tag for sentence in train for tag in sentence.tags}))
        if len(train) < config.batch_size:
            raise DataError(
                config.data[0],
                f"{len(train)} sentences to train on are less than one batch: --batch-size is {config.batch_size}",
            )
        if len(self.labels) < 2:
            raise DataError(config.data[0], f"every word has the same tag, {train[0].tags[0]}: 2 tags are needed")
        self.tokenizer = word_tokenizer(
            (word for sentence in train for word in sentence.words),
            size_max=config.vocabulary_max,
            count_min=config.count_min,
            lowercase=config.lowercase,
        )
        validation = [sentence for path in config.validation for sentence in sentences[path]]
        self._train, self._validation = (
            tag_data(part, self.tokenizer, self.labels, word_bytes_max=config.word_bytes_max)
            for part in (train, validation)
        )
        self._unknown_odds = _unknown_odds(self._train, config.word_dropout)
        self.network = Tagger(config, self.tokenizer.get_vocab_size(), len(self.labels))
        self.steps_per_epoch = -(-len(train) // config.batch_size)

    @property
    def sources(self) -> list[manifest_pb2.DataSource]:
        """The files of each part."""
        parts = {"train": self._config.data, "validation": self._config.validation}
        return [
            data_source(self._config, path, part, self._tokens[path]) for part, paths in parts.items() for path in paths
        ]

    def losses(self, epoch: int, first: int = 0, share: Share = WHOLE) -> Iterator[tuple[Tensor, int]]:
        """One pass over the sentences, in an order of its own; what is random depends on the seed and the place."""
        order = np.random.default_rng((self._config.seed, epoch))
        plan = memberships(self._train, size=self._config.batch_size, generator=order, share=share)
        for index, members in enumerate(islice(plan, first, None), start=first):
            if not members:
                yield no_loss(self.network), 0
                continue
            generator = np.random.default_rng((self._config.seed, epoch, index, share.number))
            yield self._loss(batch_of(self._train, members), generator)

    def _loss(self, batch: TagBatch, generator: np.random.Generator) -> tuple[Tensor, int]:
        """Mean loss of a batch, and its words."""
        device = self.network.head.weight.device
        scores_TBL = self.network(
            tensor(self._some_unknown(batch, generator), device),
            long_tensor(batch.lengths),
            tensor(batch.bytes, device),
            long_tensor(batch.byte_lengths),
            tensor(batch.words, device),
        )
        targets = long_tensor(batch.labels, device).flatten()
        loss = nn.functional.cross_entropy(scores_TBL.flatten(0, 1), targets, ignore_index=UNSEEN_LABEL)
        return loss, int(batch.lengths.sum())

    def state_dict(self) -> dict[str, Any]:
        """Nothing: no batch depends on the one before."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from nothing."""

    def _some_unknown(self, batch: TagBatch, generator: np.random.Generator) -> IntArray:
        """The tokens of a batch, each replaced by the unknown token with the odds of its frequency."""
        chosen = generator.random(batch.tokens.shape) < self._unknown_odds[batch.tokens]
        return np.where(chosen, np.int32(unknown_id(self.tokenizer)), batch.tokens)

    def validate(self) -> dict[str, float]:
        """Figures over the validation sentences."""
        return evaluate.tagger(export.TorchTagger(self.network), self._validation)

    def final_metrics(self) -> dict[str, float]:
        """The same figures: they are exact as they are."""
        return self.validate()


def _unknown_odds(data: TagData, dropout: float) -> DoubleArray:
    """For each token id, a / (a + count): Kiperwasser and Goldberg 2016, section 4.1 (word dropout)."""
    counts = np.bincount(data.lexicon.ids, weights=data.lexicon.counts, minlength=int(data.lexicon.ids.max()) + 1)
    odds: DoubleArray = dropout / np.maximum(dropout + counts, np.finfo(np.float64).tiny)
    return odds


def exportable(checkpoint: Checkpoint) -> Exportable:
    """The graph of a tagger, and what the manifest says of it."""
    config = TaggerConfig.model_validate_json(checkpoint.config)
    tokenizer = Tokenizer.from_str(checkpoint.tokenizer)
    network = Tagger(config, tokenizer.get_vocab_size(), len(checkpoint.labels))
    network.load_state_dict(checkpoint.weights)
    details = {
        "dropout": str(config.dropout),
        "spelling": f"bidirectional LSTM of {config.byte_hidden_size} units over UTF-8 bytes",
        "tags": config.column,
    }
    manifest = manifest_pb2.Manifest(
        task=manifest_pb2.TASK_TAGGING,
        network=network_record(network.stack, parameter_count(network), details),
        vocabulary=manifest_pb2.Vocabulary(
            level=manifest_pb2.TOKEN_LEVEL_WORD,
            size=tokenizer.get_vocab_size(),
            unknown_token=unknown_id(tokenizer),
            word_bytes_max=config.word_bytes_max,
        ),
        labels=manifest_pb2.Labels(names=checkpoint.labels, scheme=manifest_pb2.LABEL_SCHEME_NONE),
        limits=manifest_pb2.Limits(tokens_max=TOKENS_MAX),
    )
    return Exportable(export.exported(network), export.TorchTagger(network), manifest)


def judge(run: Runner, manifest: manifest_pb2.Manifest, tokenizer: Tokenizer, data: Sequence[Path]) -> dict[str, float]:
    """Figures of a tagger on files of CoNLL-U, with their words as they are cut."""
    column = TagColumn(manifest.network.details["tags"])
    sentences = [sentence for path in data for sentence in read_conllu(path, column)]
    numbered = tag_data(sentences, tokenizer, manifest.labels.names, word_bytes_max=manifest.vocabulary.word_bytes_max)
    return evaluate.tagger(run, numbered)


TAGGER = Task(
    name="tagger",
    summary="train a tagger of words on CoNLL-U",
    config=TaggerConfig,
    learner=TaggerLearner,
    exportable=exportable,
    evaluate=judge,
)
