"""The tasks by name."""

from typing import Any

from seqserve.training.tasks.classifier import CLASSIFIER
from seqserve.training.tasks.infilling import INFILLING
from seqserve.training.tasks.language_model import LANGUAGE_MODEL
from seqserve.training.tasks.tagger import TAGGER
from seqserve.training.tasks.task import Task
from seqserve.v1 import manifest_pb2

TASKS: dict[str, Task[Any]] = {task.name: task for task in (LANGUAGE_MODEL, TAGGER, CLASSIFIER, INFILLING)}
TASK_NAMES = {
    manifest_pb2.TASK_LANGUAGE_MODEL: LANGUAGE_MODEL.name,
    manifest_pb2.TASK_TAGGING: TAGGER.name,
    manifest_pb2.TASK_CLASSIFICATION: CLASSIFIER.name,
    manifest_pb2.TASK_INFILLING: INFILLING.name,
}
"""Names of the tasks by what the manifest calls them."""
