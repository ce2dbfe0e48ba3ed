"""The load generator: calls a server from a process of its own and prints what it measured."""
