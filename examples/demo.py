"""Demo: serves models/, streams a text, tags a sentence, and stops. `make demo` runs this.

Requires the extra [server] and no torch. Prints the equivalent command before each step.
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
    """The demo failed; the message states the cause."""


def show(*command: str) -> None:
    """Prints a command as a user would type it."""
    print("\n$", *(f'"{word}"' if "'" in word else shlex.quote(word) for word in command), flush=True)


@contextlib.contextmanager
def server(repository: Path) -> Iterator[str]:
    """Runs a server on a free port, and stops it at the end of the block.

    Args:
        repository: Folder of the models.

    Yields:
        HOST:PORT of the server.

    Raises:
        DemoError: The server didn't start, didn't stop, or exited with an error.
    """
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
            yield read_address(process, log)
            process.send_signal(signal.SIGTERM)
            if (code := process.wait(STOP_S_MAX)) != 0:
                raise DemoError(f"the server ended with exit code {code}:\n{read_log(log)}")
        except subprocess.TimeoutExpired as error:
            raise DemoError(f"the server did not stop within {STOP_S_MAX:g} s of SIGTERM:\n{read_log(log)}") from error
        finally:
            process.kill()


def read_address(process: subprocess.Popen[str], log: IO[str]) -> str:
    """Returns the address from the line that the server prints when it's ready."""
    assert process.stdout is not None
    timer = threading.Timer(READY_S_MAX, process.kill)
    timer.start()
    try:
        line = process.stdout.readline()
    finally:
        timer.cancel()
    print(line, end="", flush=True)
    _, separator, rest = line.partition("ready on ")
    if not separator:
        raise DemoError(f"the server did not start:\n{line}{read_log(log)}")
    return rest.split()[0]


def read_log(log: IO[str]) -> str:
    """Returns what the server wrote to standard error."""
    log.seek(0)
    return log.read().strip() or "(the log is empty)"


def stream_a_text(address: str) -> None:
    """Streams a text, and prints its speed."""
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
    """Prints a seqserve command and runs it."""
    command = ["--server", address, *arguments]
    show("seqserve", *command)
    if seqserve(command) != 0:
        raise DemoError("the command failed")


def main(repository: Path) -> None:
    """Runs the demo."""
    with server(repository) as address:
        run_command(address, "models")
        stream_a_text(address)
        run_command(address, "tag", TAGGER, SENTENCE)
        print("\nStopping the server.", flush=True)
    print("The server stopped cleanly. To start one yourself, use the first command; the other commands call it.")


if __name__ == "__main__":
    try:
        main(REPOSITORY)
    except (DemoError, SeqserveError) as error:
        sys.exit(f"demo: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
