"""What a task is to the rest of training."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from tokenizers import Tokenizer

from seqserve.training.config import TrainingConfig
from seqserve.training.evaluation.evaluate import Judgement
from seqserve.training.export.model import Exportable
from seqserve.training.runner import Runner
from seqserve.training.trainer.checkpoint import Checkpoint
from seqserve.training.trainer.trainer import Learner
from seqserve.v1 import manifest_pb2

ConfigT = TypeVar("ConfigT", bound=TrainingConfig)


class TaskLearner(Learner, Protocol):
    """A learner that also knows what a checkpoint and a training record hold."""

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer made of the training data."""
        ...

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the labels by index; empty for language models."""
        ...

    @property
    def sources(self) -> Sequence[manifest_pb2.DataSource]:
        """The data, for the training record."""
        ...

    def final_metrics(self) -> dict[str, float]:
        """Figures of the network on the validation data, counted as carefully as can be."""
        ...

    def samples(self) -> str:
        """What the network gives for a few inputs, as Markdown, for the report; equal networks give equal samples."""
        ...


class MakesExportable(Protocol):
    """Makes the graph of a checkpoint's network, and what goes with it."""

    def __call__(self, checkpoint: Checkpoint, /, *, int8: bool) -> Exportable:
        """In float32, or in int8. Raises: ExportError if the network cannot be in int8."""
        ...


@dataclass(frozen=True)
class Task(Generic[ConfigT]):
    """One kind of model.

    Attributes:
        name: on the command line.
        summary: what it trains, in a sentence.
        config: its configuration.
        learner: reads the data and makes the network; raises DataError.
        exportable: makes the graph of a checkpoint's network, and what goes with it.
        evaluate: judges a model (its runner, manifest and tokenizer) on data files, or if there are none on what it was
            validated on; raises DataError.
    """

    name: str
    summary: str
    config: type[ConfigT]
    learner: Callable[[ConfigT], TaskLearner]
    exportable: MakesExportable
    evaluate: Callable[[Runner, manifest_pb2.Manifest, Tokenizer, Sequence[Path]], Judgement]
