"""The interface between a task and the rest of training."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from tokenizers import Tokenizer
from torch import nn

from seqserve.training.config import TrainingConfig
from seqserve.training.evaluation.metrics import EvalResult
from seqserve.training.export.model import Exportable, ExportedModel, TorchRunner
from seqserve.training.int8 import quantized
from seqserve.training.runner import Runner
from seqserve.training.trainer.checkpoint import Checkpoint
from seqserve.training.trainer.trainer import Learner
from seqserve.v1 import manifest_pb2

ConfigT = TypeVar("ConfigT", bound=TrainingConfig)
NetworkT = TypeVar("NetworkT", bound=nn.Module)


class TaskLearner(Learner, Protocol):
    """A learner with the contents of a checkpoint and of a training record."""

    @property
    def tokenizer(self) -> Tokenizer:
        """Tokenizer built from the training data."""
        ...

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the labels by index; empty for tasks without labels."""
        ...

    @property
    def sources(self) -> Sequence[manifest_pb2.DataSource]:
        """Data files, for the training record."""
        ...

    def final_metrics(self) -> dict[str, float]:
        """Metrics of the network on the validation data, computed as exactly as possible."""
        ...

    def samples(self) -> str:
        """Sample outputs for the report, as Markdown; equal networks give equal samples."""
        ...


class Task(ABC, Generic[ConfigT, NetworkT]):
    """One kind of model. A subclass, registered in `seqserve.training.tasks.registry`, is all that a new task needs.

    Attributes:
        name: Command of ``seqserve-train``.
        summary: Help text of the command, without a full stop.
        kind: The task's name in manifests.
        config: Class of the configuration; its fields become flags.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    kind: ClassVar[manifest_pb2.Task]
    config: type[ConfigT]

    @abstractmethod
    def learner(self, config: ConfigT) -> TaskLearner:
        """Reads the data and builds the network.

        Args:
            config: Configuration of the run.

        Raises:
            DataError: A data file is unusable.
        """

    @abstractmethod
    def network(self, config: ConfigT, tokenizer: Tokenizer, labels: Sequence[str]) -> NetworkT:
        """Builds the untrained network.

        Args:
            config: Configuration of the run.
            tokenizer: Its vocabulary sets the number of embeddings.
            labels: Names of the labels by index.
        """

    @abstractmethod
    def describe(
        self, config: ConfigT, network: NetworkT, tokenizer: Tokenizer, labels: Sequence[str]
    ) -> manifest_pb2.Manifest:
        """Describes the model: task, network, vocabulary, labels, limits, generation defaults.

        Args:
            config: Configuration of the run.
            network: The network in float32, with its weights.
            tokenizer: Tokenizer of the model.
            labels: Names of the labels by index.
        """

    @abstractmethod
    def graph(self, network: NetworkT) -> ExportedModel:
        """Builds the ONNX graph of a network, in float32 or int8."""

    @abstractmethod
    def runner(self, network: NetworkT) -> TorchRunner:
        """Wraps a network so that it takes and returns the arrays of its graph."""

    @abstractmethod
    def evaluate(
        self, run: Runner, manifest: manifest_pb2.Manifest, tokenizer: Tokenizer, data: Sequence[Path]
    ) -> EvalResult:
        """Evaluates a model on data files.

        Args:
            run: The model.
            manifest: Description of the model, with its states and the configuration of its training.
            tokenizer: Tokenizer of the model.
            data: Files in the format of the task; empty for the data that the model was validated on.

        Raises:
            DataError: A data file is unusable.
        """

    def restored(self, checkpoint: Checkpoint) -> tuple[ConfigT, Tokenizer, NetworkT]:
        """Returns the configuration, tokenizer and trained network of a checkpoint."""
        config = self.config.model_validate_json(checkpoint.config)
        tokenizer = Tokenizer.from_str(checkpoint.tokenizer)
        network = self.network(config, tokenizer, checkpoint.labels)
        network.load_state_dict(checkpoint.weights)
        return config, tokenizer, network

    def exportable(self, checkpoint: Checkpoint, *, int8: bool) -> Exportable:
        """Returns a checkpoint's graph, network and description.

        Args:
            checkpoint: A checkpoint of this task.
            int8: Whether to quantize the network.

        Raises:
            ExportError: The network cannot be quantized.
        """
        config, tokenizer, network = self.restored(checkpoint)
        manifest = self.describe(config, network, tokenizer, checkpoint.labels)
        computed = quantized(network) if int8 else network
        return Exportable(self.graph(computed), self.runner(computed), manifest)


AnyTask = Task[Any, Any]
