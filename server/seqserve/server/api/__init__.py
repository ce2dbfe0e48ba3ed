"""The gRPC services: convert messages to values of the server and back, and nothing else."""
