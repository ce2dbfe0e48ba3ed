"""What the server is compared with: the bare model, a bare gRPC echo and a naive server."""
