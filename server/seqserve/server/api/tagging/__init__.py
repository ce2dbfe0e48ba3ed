"""TaggingService."""
