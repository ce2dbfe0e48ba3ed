"""What a server answers, as values."""
