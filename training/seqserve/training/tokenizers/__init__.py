"""Tokenizers of words, characters, and running text, as files of the library ``tokenizers``."""
