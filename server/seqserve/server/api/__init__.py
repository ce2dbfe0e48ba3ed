"""The gRPC services: they convert messages to domain values and back."""
