"""The command ``seqserve``: one module a subcommand, each with its arguments (``add``) and its work (``run``)."""
