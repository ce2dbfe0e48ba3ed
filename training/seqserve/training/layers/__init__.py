"""Recurrent layers in torch: formulas of the cells, initialization, and stacks of layers."""

from seqserve.training.layers.stack import STATE_KINDS, RecurrentStack, State

__all__ = ["STATE_KINDS", "RecurrentStack", "State"]
