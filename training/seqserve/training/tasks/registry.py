"""The tasks by name and by the kind that manifests state."""

from seqserve.training.tasks.classifier import CLASSIFIER
from seqserve.training.tasks.infilling import INFILLING
from seqserve.training.tasks.language_model import LANGUAGE_MODEL
from seqserve.training.tasks.tagger import TAGGER
from seqserve.training.tasks.task import AnyTask
from seqserve.v1 import manifest_pb2

TASKS: dict[str, AnyTask] = {task.name: task for task in (LANGUAGE_MODEL, TAGGER, CLASSIFIER, INFILLING)}
"""Tasks by command of ``seqserve-train``; checkpoints state this name."""
TASKS_BY_KIND: dict[manifest_pb2.Task, AnyTask] = {task.kind: task for task in TASKS.values()}
"""Tasks by the kind that manifests state."""
