"""The load generator: calls a server from a separate process and prints its measurements."""
