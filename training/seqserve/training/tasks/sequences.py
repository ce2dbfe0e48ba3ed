"""What the learners of whole sequences have in common: batches of like length, and tokens trained as unknown."""

import json
import logging
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from google.protobuf import json_format, struct_pb2
from tokenizers import Tokenizer
from torch import Tensor, nn

from seqserve.training.arrays import IntArray
from seqserve.training.config import ReadingLevel, SequenceConfig, WordsConfig
from seqserve.training.data.sequences import SequenceBatch, SequenceData, batch_of, memberships
from seqserve.training.data.share import WHOLE, Share
from seqserve.training.errors import DataError
from seqserve.training.evaluation.metrics import EvalResult
from seqserve.training.networks import Spellings
from seqserve.training.networks.words import WordFeatures, pair_numbers
from seqserve.training.tensors import long_tensor, tensor
from seqserve.training.tokenizers.sequences import character_tokenizer, unknown_id, word_tokenizer
from seqserve.training.trainer.distributed import no_loss
from seqserve.training.trainer.record import data_source
from seqserve.v1 import manifest_pb2

log = logging.getLogger(__name__)

DoubleArray = npt.NDArray[np.float64]
ConfigT = TypeVar("ConfigT", bound=SequenceConfig)
NetworkT = TypeVar("NetworkT", bound=nn.Module)

TOKENS_MAX = 4096
"""Most tokens of a sequence, in training and when served."""
LEVELS = {
    ReadingLevel.WORD: manifest_pb2.TOKEN_LEVEL_WORD,
    ReadingLevel.CHARACTER: manifest_pb2.TOKEN_LEVEL_CHARACTER,
}


class SequenceLearner(ABC, Generic[NetworkT]):
    """A network and the sequences that it learns from."""

    def __init__(self, config: SequenceConfig, train: SequenceData, tokenizer: Tokenizer, network: NetworkT) -> None:
        """Learn from ``train``, whose tokens have the ids of ``tokenizer``."""
        self.network = network
        self.tokenizer = tokenizer
        self.steps_per_epoch = -(-len(train.words) // config.batch_size)
        self._sequences = config
        self._train = train
        self._unknown_odds = unknown_odds(train, config.word_dropout)

    def losses(self, epoch: int, first: int = 0, share: Share = WHOLE) -> Iterator[tuple[Tensor, int]]:
        """Yields one pass over the sequences in random order. Randomness depends only on the seed and the place."""
        seed = self._sequences.seed
        generator = np.random.default_rng((seed, epoch))
        data = self.drawn(generator)
        plan = memberships(data, size=self._sequences.batch_size, generator=generator, share=share)
        for index, members in enumerate(islice(plan, first, None), start=first):
            if not members:
                yield no_loss(self.network), 0
                continue
            yield self.loss(batch_of(data, members), np.random.default_rng((seed, epoch, index, share.number)))

    def drawn(self, generator: np.random.Generator) -> SequenceData:
        """Returns the sequences of a pass: the same each time, unless a task overrides this."""
        del generator
        return self._train

    @abstractmethod
    def loss(self, batch: SequenceBatch, generator: np.random.Generator) -> tuple[Tensor, int]:
        """Mean loss of a batch, and its tokens."""

    def state_dict(self) -> dict[str, Any]:
        """Nothing: no batch depends on the one before."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from nothing."""

    @abstractmethod
    def evaluate(self) -> EvalResult:
        """What the network reaches on the validation data."""

    def validate(self) -> dict[str, float]:
        """Figures over the validation data."""
        return self.evaluate().figures

    def samples(self) -> str:
        """Which label was taken for which, as a table."""
        confusion = self.evaluate().confusion
        return "" if confusion is None else confusion.table()

    def final_metrics(self) -> dict[str, float]:
        """The same figures: they are exact as they are."""
        return self.validate()

    def with_unknown(self, tokens_TB: IntArray, generator: np.random.Generator) -> IntArray:
        """Tokens, each replaced by the unknown token with the odds of its frequency."""
        chosen = generator.random(tokens_TB.shape) < self._unknown_odds[tokens_TB]
        return np.where(chosen, np.int32(unknown_id(self.tokenizer)), tokens_TB)


def unknown_odds(data: SequenceData, dropout: float) -> DoubleArray:
    """For each token id, a / (a + count): Kiperwasser and Goldberg 2016, section 4.1 (word dropout)."""
    counts = np.bincount(data.lexicon.ids, weights=data.lexicon.counts, minlength=int(data.lexicon.ids.max()) + 1)
    odds: DoubleArray = dropout / np.maximum(dropout + counts, np.finfo(np.float64).tiny)
    return odds


def sequence_tokenizer(
    config: SequenceConfig, sequences: Iterable[Sequence[str]], *, special: Sequence[str] = ()
) -> Tokenizer:
    """The tokenizer of the words or characters of these sequences: id 0 is the unknown token, then the special ones."""
    words = (word for sequence in sequences for word in sequence)
    if config.level is ReadingLevel.WORD:
        return word_tokenizer(
            words,
            size_max=config.vocabulary_max,
            count_min=config.count_min,
            lowercase=config.lowercase,
            special=special,
        )
    ranked = [character for character, count in Counter(words).most_common() if count >= config.count_min]
    kept = ranked[: config.vocabulary_max - 1 - len(special)]
    return character_tokenizer("".join(kept), unknown_token=True, special=special)


def vocabulary_record(config: SequenceConfig, tokenizer: Tokenizer) -> manifest_pb2.Vocabulary:
    """What the manifest says of the vocabulary."""
    return manifest_pb2.Vocabulary(
        level=LEVELS[config.level],
        size=tokenizer.get_vocab_size(),
        unknown_token=unknown_id(tokenizer),
        word_bytes_max=config.word_bytes_max if isinstance(config, WordsConfig) and config.spells else 0,
    )


def config_record(config: SequenceConfig) -> manifest_pb2.TrainingRecord:
    """The configuration, as the manifest holds it."""
    content = json_format.ParseDict(json.loads(config.model_dump_json()), struct_pb2.Struct())
    return manifest_pb2.TrainingRecord(config=content)


def config_of(manifest: manifest_pb2.Manifest, kind: type[ConfigT]) -> ConfigT:
    """The configuration that a manifest holds: it tells how data files are read."""
    return kind.model_validate_json(json_format.MessageToJson(manifest.training.config))


def word_details(config: WordsConfig) -> dict[str, str]:
    """What the manifest tells people of the features of tokens."""
    spelling = f"bidirectional LSTM of {config.byte_hidden_size} units over UTF-8 bytes"
    bigrams = f"hashed into {config.bigrams} rows"
    return {**({"spelling": spelling} if config.spells else {}), **({"bigrams": bigrams} if config.bigrams else {})}


def spellings(batch: SequenceBatch, device: torch.device) -> Spellings:
    """The letters of a batch, as networks take them."""
    return Spellings(tensor(batch.bytes, device), long_tensor(batch.byte_lengths), long_tensor(batch.words, device))


def sources(config: SequenceConfig, tokens: Mapping[str, Mapping[Path, int]]) -> list[manifest_pb2.DataSource]:
    """The files of each part, given how many tokens of each file are in it."""
    return [data_source(config, path, part, count) for part, counts in tokens.items() for path, count in counts.items()]


def refuse_too_few(path: Path, count: int, batch_size: int, what: str) -> None:
    """Refuse data that do not fill one batch. Args: what: that are counted, in the plural."""
    if count < batch_size:
        raise DataError(
            path, f"too few {what} to train on: {count}, and --batch-size is {batch_size}; give more, or a smaller one"
        )


def refuse_too_long(path: Path, sequences: Iterable[Sequence[str]]) -> None:
    """Refuse a sequence over TOKENS_MAX."""
    for number, sequence in enumerate(sequences, start=1):
        if len(sequence) > TOKENS_MAX:
            raise DataError(
                path,
                f"sequence {number} has {len(sequence)} tokens, at most {TOKENS_MAX} are taken: cut it into several",
            )


def frequent_pairs(config: WordsConfig, data: SequenceData) -> npt.NDArray[np.int64]:
    """Numbers of the pairs that occur ``count_min`` times or more, the most frequent first: int64 (N)."""
    rows = (long_tensor(data.lexicon.ids[words])[:, None] for words in data.words)
    distinct, counts = np.unique(torch.cat([pair_numbers(row) for row in rows]).numpy(), return_counts=True)
    order = np.argsort(-counts, kind="stable")
    numbers: npt.NDArray[np.int64] = distinct[order][counts[order] >= config.count_min]
    return numbers


def initialize_with_ratios(config: WordsConfig, features: WordFeatures, ratios_VL: DoubleArray) -> None:
    """Let the embeddings of tokens begin with log-count ratios. Raises: DataError if they are too narrow for them."""
    labels = ratios_VL.shape[1]
    if config.embedding_size < labels:
        raise DataError(
            config.data[0],
            f"{labels} labels, and each takes a number of a token's embedding: raise"
            f" --embedding-size from {config.embedding_size}, or leave --count-ratios out",
        )
    features.initialize_with(ratios_VL)


def warn_unseen(unseen: Mapping[str, int], where: str) -> None:
    """Say which labels of ``where`` training never had."""
    if unseen:
        message = ", ".join(f"{name} ({count})" for name, count in sorted(unseen.items()))
        log.warning("labels of %s that training never had, counted as wrong: %s", where, message)
