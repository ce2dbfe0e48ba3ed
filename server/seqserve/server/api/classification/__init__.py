"""ClassificationService."""
