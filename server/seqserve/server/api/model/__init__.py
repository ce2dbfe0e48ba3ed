"""ModelService."""
