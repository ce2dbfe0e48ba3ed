"""Requests, streams, and retries without any I/O: shared by both clients."""
