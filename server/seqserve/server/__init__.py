"""The server of seqserve."""
