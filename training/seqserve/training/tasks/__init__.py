"""Tasks: one class per kind of model, with its data, network, export, and evaluation."""
