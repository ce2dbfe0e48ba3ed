"""Recurrent layers in torch: the formulas of the cells, their first weights, and stacks of them."""

from seqserve.training.layers.stack import STATE_KINDS, RecurrentStack, State

__all__ = ["STATE_KINDS", "RecurrentStack", "State"]
