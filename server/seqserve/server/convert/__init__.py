"""Protobuf to domain and back, and nothing else: what comes in is checked here, field by field."""
