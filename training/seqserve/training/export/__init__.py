"""From a trained network to a servable: the graph, the proof that it computes the same, and the files."""
