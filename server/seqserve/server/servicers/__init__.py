"""One servicer a service: convert, ask, convert back."""
