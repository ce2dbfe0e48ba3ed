"""Writes a scene over several requests, saves it, and tries two endings: python examples/session.py [HOST:PORT]."""

import sys
import tempfile
from pathlib import Path

from seqserve.client import Client, SeqserveError

SPEAKERS = ("ROMEO:\n", "JULIET:\n", "ROMEO:\n")


def main(address: str) -> None:
    """Continues a session, so that no request repeats the text before it."""
    with Client(address) as client, client.session("shakespeare-char") as scene:
        for speaker in SPEAKERS:
            speech = scene.generate(speaker, max_tokens=120, temperature=0.8, seed=3, stop="\n\n").text()
            print(f"{speaker}{speech}\n")
        print(f"{scene.position} tokens so far")

        with scene.fork() as other:  # from here on the two sessions are independent
            for name, session, line in (("first", scene, "JULIET:\nYes"), ("second", other, "JULIET:\nNo")):
                ending = session.generate(line, max_tokens=60, temperature=0.8, seed=3, stop="\n").text()
                print(f"{name} ending: {line.partition(chr(10))[2]}{ending}")

        with tempfile.TemporaryDirectory() as folder:  # a few kilobytes that any server with the model can continue
            file = Path(folder) / "scene.session"
            scene.save(file)
            with client.sessions.load(file) as loaded:
                print(f"{file.stat().st_size} bytes hold all {loaded.position} tokens")


if __name__ == "__main__":
    try:
        main(sys.argv[1] if len(sys.argv) > 1 else "localhost:50051")
    except SeqserveError as error:
        sys.exit(str(error))
