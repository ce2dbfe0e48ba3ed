"""Accuracy of training on public data: rows run their commands and make up docs/results.md."""
