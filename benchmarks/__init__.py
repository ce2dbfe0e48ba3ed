"""Benchmarks: the bare model (`step`), the model through the wire (`serve`), and all of it in one run (`__main__`)."""
