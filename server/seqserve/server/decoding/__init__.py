"""From logits to tokens, labels and scores. Pure functions and small state machines, without input or output."""
