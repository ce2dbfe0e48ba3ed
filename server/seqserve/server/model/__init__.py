"""A servable's files, its graph, and the state of a sequence."""
