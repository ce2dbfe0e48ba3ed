"""GenerationService."""
