"""Scheduling and execution: forms batches step by step and runs them."""
