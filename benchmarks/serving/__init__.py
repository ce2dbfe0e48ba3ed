"""Benchmarks of the server: throughput, latency, memory, processor time."""
