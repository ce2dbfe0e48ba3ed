"""Training for seqserve."""
