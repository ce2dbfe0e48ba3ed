"""The tasks: each says how to learn, export and judge its kind of model."""
