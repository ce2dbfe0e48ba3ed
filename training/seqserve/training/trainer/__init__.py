"""Trainer: the training loop, its state, checkpoints, devices, and the records of a run."""
