"""Data files as training reads them, and the batches made of them."""
