"""See it work: serve models/, stream a text and tags from it, stop. `make demo` runs this.

Needs the extra [server] and no torch. Every step is shown with the command that does the same by hand.
"""

import contextlib
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from seqserve.client import Client, SeqserveError
from seqserve.client.__main__ import main as seqserve

REPOSITORY = Path(__file__).resolve().parents[1] / "models"
READY_S_MAX = 120.0
STOP_S_MAX = 30.0

LANGUAGE_MODEL, PROMPT, TOKENS, TEMPERATURE, SEED = "shakespeare-char", "ROMEO:", 300, 0.8, 7
TAGGER, SENTENCE = "english-pos", "The quick brown fox can't wait to see Paris in the spring."


class DemoError(Exception):
    """The demo cannot go on; the message says why."""


def show(*command: str) -> None:
    """Print a command as one would type it."""
    print("\n$", *(f'"{word}"' if "'" in word else shlex.quote(word) for word in command), flush=True)


@contextlib.contextmanager
def server(repository: Path) -> Iterator[str]:
    """Run a server on a free port; its address. On the way out it is stopped and has to end well."""
    arguments = ["--models", str(repository), "--listen", "127.0.0.1:0"]
    show("seqserve-server", *arguments)
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8") as log,
        subprocess.Popen(
            [sys.executable, "-m", "seqserve.server", *arguments],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            encoding="utf-8",
        ) as process,
    ):
        try:
            yield address_of(process, log)
            process.send_signal(signal.SIGTERM)
            if (code := process.wait(STOP_S_MAX)) != 0:
                raise DemoError(f"the server ended with exit code {code}:\n{written(log)}")
        except subprocess.TimeoutExpired as error:
            raise DemoError(f"the server did not stop within {STOP_S_MAX:g} s of SIGTERM:\n{written(log)}") from error
        finally:
            process.kill()


def address_of(process: subprocess.Popen[str], log: IO[str]) -> str:
    """The address in the line that the server prints when it is ready."""
    assert process.stdout is not None
    patience = threading.Timer(READY_S_MAX, process.kill)
    patience.start()
    try:
        line = process.stdout.readline()
    finally:
        patience.cancel()
    print(line, end="", flush=True)
    _, found, rest = line.partition("ready on ")
    if not found:
        raise DemoError(f"the server did not start:\n{line}{written(log)}")
    return rest.split()[0]


def written(log: IO[str]) -> str:
    """What the server said on standard error."""
    log.seek(0)
    return log.read().strip() or "(it said nothing)"


def stream_a_text(address: str) -> None:
    """Print a text as it comes, and how fast it came."""
    options = ["--max-tokens", str(TOKENS), "--temperature", str(TEMPERATURE), "--seed", str(SEED), "--echo"]
    show("seqserve", "--server", address, "generate", LANGUAGE_MODEL, PROMPT, *options)
    with Client(address) as client:
        stream = client.generate(LANGUAGE_MODEL, PROMPT, max_tokens=TOKENS, temperature=TEMPERATURE, seed=SEED)
        stream.start()
        print(PROMPT, end="", flush=True)
        for piece in stream:
            print(piece.text, end="", flush=True)
    end = stream.finished
    speed = f"{end.generated_tokens / (end.timing.total_ms / 1000):,.0f} tokens/s"
    print(f"\n\n{end.generated_tokens} tokens, {speed}, first token after {end.timing.first_output_ms:.1f} ms")


def run_command(address: str, *arguments: str) -> None:
    """Run the command seqserve, and show it."""
    command = ["--server", address, *arguments]
    show("seqserve", *command)
    if seqserve(command) != 0:
        raise DemoError("the command failed")


def main(repository: Path) -> None:
    """All of it."""
    with server(repository) as address:
        run_command(address, "models")
        stream_a_text(address)
        run_command(address, "tag", TAGGER, SENTENCE)
        print("\nStopping the server.", flush=True)
    print("It stopped cleanly. Start one yourself with the first command; the others call it.")


if __name__ == "__main__":
    try:
        main(REPOSITORY)
    except (DemoError, SeqserveError) as error:
        sys.exit(f"demo: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
