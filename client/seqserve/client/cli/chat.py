"""``seqserve chat``: a line in, a text out, in one session that remembers all of it."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections import deque
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Final, Self

from seqserve.client._sync.client import Client
from seqserve.client._sync.session import Session
from seqserve.client.cli.generate import add_sampling, options_of
from seqserve.client.cli.output import complain, complain_about, print_json
from seqserve.client.cli.standard_input import read_lines
from seqserve.client.core.generate_options import GenerateOptions
from seqserve.client.errors import SeqserveError

EXAMPLES: str = """Each line is read by the model, which then writes on, by 200 tokens unless --max-tokens says
otherwise; an empty line lets it write on by itself.

commands within:
  /undo          forget the last line and its answer
  /fork [ID]     keep a copy of the conversation on the server, under this id
  /save PATH     write the conversation to a file
  /load PATH     go on with the conversation in a file
  /help          tell these commands
  /quit          leave; the session is forgotten unless --session named it

examples:
  seqserve chat shakespeare-char --temperature 0.8 --stop "\\n\\n"
  seqserve chat shakespeare-char --session romeo
  printf 'ROMEO:\\n/save romeo.session\\n' | seqserve chat shakespeare-char --seed 1
"""

_TOKENS_DEFAULT: Final = 200  # as the help says
_UNDO_MAX: Final = 8
_PROMPT: Final = "> "


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("model", metavar="MODEL", help="name of the model")
    parser.add_argument("--session", metavar="ID", help="continue this session, or create it; it is kept at the end")
    add_sampling(parser)
    parser.set_defaults(max_tokens=_TOKENS_DEFAULT)


def run(client: Client, arguments: argparse.Namespace) -> int:
    """Answers each line of standard input. Errors are printed, and the conversation continues from its last state."""
    failed = False
    with Chat(client, arguments.model, arguments.session, options_of(arguments)) as chat:
        for line in _lines():
            try:
                if not line.startswith("/"):
                    chat.answer(line, as_json=arguments.json)
                elif not chat.command(*line[1:].split(maxsplit=1)):
                    break
            except SeqserveError as error:
                complain_about(error)
                failed = True
                with contextlib.suppress(SeqserveError):
                    chat.look()
            except BrokenPipeError:  # nobody reads any more
                raise
            except (OSError, ValueError) as error:
                complain(str(error))
                failed = True
    return 1 if failed else 0


class Chat:
    """A conversation: a session, and the way back through its last answers."""

    def __init__(self, client: Client, model: str, session_id: str | None, options: GenerateOptions) -> None:
        """Opens the session.

        Args:
            client: The client.
            model: Name of the model.
            session_id: Id of a session that is kept; None: a session that is deleted at the end.
            options: Options of each generation.
        """
        self._client = client
        self._options = options
        self._commands: dict[str, Callable[[str], None]] = {
            "undo": self._undo,
            "fork": self._fork,
            "save": self._save,
            "load": self._load,
            "help": self._help,
        }
        self._close = contextlib.ExitStack()
        self._begin(client.session(model, session_id, version=options.get("version")))

    def answer(self, line: str, *, as_json: bool) -> None:
        """Read a line and print what the model writes on."""
        checkpoint = f"turn-{self._turns % _UNDO_MAX}"
        stream = self._session.generate(f"{line}\n" if line else "", checkpoint=checkpoint, **self._options)
        for piece in stream:
            if not as_json:
                print(piece.text, end="", flush=True)
        if as_json:
            print_json(stream.finished, text=stream.text())
        else:
            print()
        self._turns += 1
        self._checkpoints.append(checkpoint)

    def look(self) -> None:
        """Find out where the conversation is: an answer that failed may have been kept."""
        self._session.info()

    def command(self, name: str = "", argument: str = "") -> bool:
        """Do a command.

        Returns:
            Whether the conversation continues.

        Raises:
            ValueError: If there is no such command.
        """
        if name == "quit":
            return False
        if name not in self._commands:
            known = ", ".join(f"/{one}" for one in (*self._commands, "quit"))
            raise ValueError(f"unknown command /{name}; known commands: {known}")
        self._commands[name](argument.strip())
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._close.__exit__(kind, error, traceback)

    def _begin(self, session: Session) -> None:
        """Open a session in place of the one before, which ends unless it has a name."""
        opened = session.open()
        self._close.close()
        self._session = self._close.enter_context(opened)
        self._origin = session.export()
        self._turns = 0
        self._checkpoints: deque[str] = deque(maxlen=_UNDO_MAX)

    def _undo(self, argument: str) -> None:  # noqa: ARG002 - a command as the others
        if not self._turns:
            raise ValueError("nothing to undo")
        if self._turns > 1 and len(self._checkpoints) == 1:
            raise ValueError(f"only the last {_UNDO_MAX - 1} answers can be undone")
        if self._turns == 1:
            named = self._session.id if self._session.keep else None
            self._session.delete()
            self._begin(self._client.sessions.restore(self._origin, named))
        else:
            self._checkpoints.pop()
            self._session.rewind(self._checkpoints[-1])
            self._turns -= 1
        _note(f"undone: at {self._session.position:,} tokens")

    def _fork(self, argument: str) -> None:
        _note(f"copied to session {self._session.fork(argument or None).id}")

    def _save(self, argument: str) -> None:
        self._session.save(_path(argument, "save"))
        _note(f"saved at {self._session.position:,} tokens")

    def _load(self, argument: str) -> None:
        self._begin(self._client.sessions.load(_path(argument, "load")))
        _note(f"loaded at {self._session.position:,} tokens")

    def _help(self, argument: str) -> None:  # noqa: ARG002 - a command as the others
        _note(EXAMPLES.partition("\n\nexamples:")[0])


def _path(argument: str, command: str) -> str:
    if not argument:
        raise ValueError(f"/{command} needs a file: /{command} PATH")
    return argument


def _note(text: str) -> None:
    """Tell the one who types, beside the text."""
    print(text, file=sys.stderr)


def _lines() -> Iterator[str]:
    """The lines of input, typed or piped."""
    if not (sys.stdin and sys.stdin.isatty()):
        yield from (line.rstrip("\n") for line in read_lines())
        return
    while True:
        try:
            yield input(_PROMPT)
        except EOFError:
            print()
            return
