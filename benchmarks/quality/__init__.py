"""Benchmarks of exactness and accuracy; they write pages of docs/."""
