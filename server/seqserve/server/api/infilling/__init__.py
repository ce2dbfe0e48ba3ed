"""InfillingService."""
