"""The model repository: its versions, which of them serve, and why the others do not."""

from seqserve.server.repository.model import Entry, EntryState, Model
from seqserve.server.repository.repository import Repository

__all__ = ["Entry", "EntryState", "Model", "Repository"]
