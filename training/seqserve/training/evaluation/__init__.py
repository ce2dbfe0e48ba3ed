"""Metrics of models on data sets."""
