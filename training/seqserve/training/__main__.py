"""``python -m seqserve.training``: the command ``seqserve-train``."""

import sys

from seqserve.training.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
