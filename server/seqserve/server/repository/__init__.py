"""The model repository: what is there, what of it serves, and why the rest does not."""

from seqserve.server.repository.model import Entry, EntryState, Model
from seqserve.server.repository.repository import Repository

__all__ = ["Entry", "EntryState", "Model", "Repository"]
