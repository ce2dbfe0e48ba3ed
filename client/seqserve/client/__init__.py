"""The client of seqserve."""
