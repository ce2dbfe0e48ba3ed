"""Benchmarks of seqserve; ``python -m benchmarks`` lists them."""
