"""Text to tokens and back, whole or piece by piece."""
