"""Streams a text from a language model: python examples/generate.py [HOST:PORT]."""

import sys

from seqserve.client import Client, SeqserveError


def main(address: str) -> None:
    """Prints a text as it arrives, and why it ended."""
    with Client(address) as client:
        stream = client.generate("shakespeare-char", "ROMEO:", max_tokens=200, temperature=0.8, seed=7)
        for piece in stream:
            print(piece.text, end="", flush=True)
        print()
        end = stream.finished
        print(f"{end.reason}: {end.generated_tokens} tokens, seed {stream.started.seed}", file=sys.stderr)


if __name__ == "__main__":
    try:
        main(sys.argv[1] if len(sys.argv) > 1 else "localhost:50051")
    except SeqserveError as error:
        sys.exit(str(error))
