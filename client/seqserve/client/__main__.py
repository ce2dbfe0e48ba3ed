# PYTHON_ARGCOMPLETE_OK
"""The command ``seqserve``, also ``python -m seqserve.client``."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import os
import sys
from collections.abc import Sequence

from seqserve.client._sync.client import Client
from seqserve.client.cli.arguments import COMMANDS, check_unicode, parser
from seqserve.client.cli.output import complain, complain_about
from seqserve.client.errors import SeqserveError

EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED, EXIT_READER_LEFT = 1, 2, 130, 141


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: Arguments without the program's name. Default: those of the process.

    Returns:
        The exit code: 0 done, 1 a call or a file failed, 2 wrong usage, 130 interrupted, 141 the reader of a pipe left.
    """
    _fill_closed_descriptors()
    whole = parser()
    _complete(whole)
    arguments = whole.parse_args(argv)
    command, _ = COMMANDS[arguments.command]
    _never_fail_to_print()
    try:
        if sys.stdout is None:
            raise OSError("standard output is closed")
        check_unicode(arguments)
        with Client(arguments.server, timeout_s=arguments.timeout, principal=arguments.principal) as client:
            code = command.run(client, arguments)
            sys.stdout.flush()
            return code
    except SeqserveError as error:
        complain_about(error)
        return EXIT_FAILED
    except BrokenPipeError:
        _drop_output()
        return EXIT_READER_LEFT
    except OSError as error:
        _drop_output()  # it may be what cannot be written
        complain(f"{error.filename}: {error.strerror}" if error.filename else str(error))
        return EXIT_FAILED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except ValueError as error:
        complain(str(error))
        return EXIT_USAGE


def _complete(whole: argparse.ArgumentParser) -> None:
    """Answers a shell that asks for completions, if the extra ``completion`` is installed; then the process ends."""
    if "_ARGCOMPLETE" not in os.environ:
        return
    try:
        argcomplete = importlib.import_module("argcomplete")
    except ImportError:
        return
    argcomplete.autocomplete(whole)


def _fill_closed_descriptors() -> None:
    """Opens /dev/null for standard streams that are closed, so that no connection gets their descriptors."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free descriptor is this one
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - open until the end


def _never_fail_to_print() -> None:
    """Let a terminal that cannot show a character show a question mark for it."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _drop_output() -> None:
    """Discards buffered output, so that the interpreter does not report an error at exit."""
    with contextlib.suppress(io.UnsupportedOperation, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
