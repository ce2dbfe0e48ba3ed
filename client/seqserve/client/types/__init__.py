"""Answers of a server, as values."""
