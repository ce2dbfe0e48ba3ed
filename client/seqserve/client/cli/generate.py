"""``seqserve generate``: text as it comes."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import Final, cast

from seqserve.client._sync.client import Client
from seqserve.client._sync.generation_stream import GenerationStream
from seqserve.client.cli.output import complain, print_json
from seqserve.client.cli.standard_input import read_text
from seqserve.client.core.generate_options import GenerateOptions
from seqserve.client.types.generation import FinishReason
from seqserve.client.types.logprobs import StepLogprobs

EXAMPLES: str = """examples:
  seqserve generate shakespeare-char "ROMEO:" --max-tokens 300 --temperature 0.8 --seed 1
  seqserve generate shakespeare-char "ROMEO:" --stop "JULIET" --json
  seqserve generate shakespeare-char "ROMEO:" --n 3 --best-of 10
  seqserve generate shakespeare-char "ROMEO:" --session romeo
"""

_EARLY: Final = {FinishReason.CANCELLED, FinishReason.DEADLINE, FinishReason.ERROR}


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("model", metavar="MODEL", help="name of the model")
    parser.add_argument(
        "prompt", metavar="PROMPT", nargs="?", default="", help="text to continue; - reads it from standard input"
    )
    session = parser.add_argument_group("session")
    session.add_argument("--session", metavar="ID", help="continue this session, or create it")
    session.add_argument("--checkpoint", metavar="NAME", help="keep the session's state at the end under this name")
    add_sampling(parser)
    probabilities = parser.add_argument_group("log-probabilities")
    probabilities.add_argument(
        "--logprobs", type=int, metavar="K", help="one line a token: the token, its log-probability, the K likeliest"
    )
    probabilities.add_argument(
        "--prompt-logprobs", type=int, metavar="K", help="the same for the prompt's tokens, before the text"
    )
    several = parser.add_argument_group("several texts and beam search")
    several.add_argument("--n", type=int, metavar="N", help="samples of the one prompt; printed when all have ended")
    several.add_argument("--best-of", type=int, metavar="N", help="generate N and return the likeliest")
    several.add_argument("--beam-width", type=int, metavar="N", help="search with N beams instead of sampling")
    several.add_argument(
        "--length-penalty", type=float, metavar="X", help="above 1 prefers longer texts in a beam search (default: 1)"
    )
    parser.add_argument("--echo", action="store_true", help="print the prompt before the text")


def add_sampling(parser: argparse.ArgumentParser) -> None:
    """Adds the sampling and stopping options. The model's defaults apply to options that are not given."""
    parser.add_argument("--version", type=int, metavar="N", help="version of the model (default: the newest)")
    length = parser.add_argument_group("length and end")
    length.add_argument("--max-tokens", type=int, metavar="N", help="maximum number of tokens to generate")
    length.add_argument("--min-tokens", type=int, metavar="N", help="minimum number of tokens to generate")
    sampling = parser.add_argument_group("sampling")
    sampling.add_argument(
        "--temperature",
        type=float,
        metavar="T",
        help="0 takes the likeliest token, 1 samples as trained",
    )
    sampling.add_argument("--top-k", type=int, metavar="K", help="sample from the K likeliest tokens")
    sampling.add_argument("--top-p", type=float, metavar="P", help="sample from the likeliest tokens that add up to P")
    sampling.add_argument("--min-p", type=float, metavar="P", help="drop tokens below P times the likeliest")
    sampling.add_argument(
        "--repetition-penalty", type=float, metavar="X", help="above 1 makes tokens of prompt and text less likely"
    )
    sampling.add_argument(
        "--presence-penalty", type=float, metavar="X", help="above 0 makes tokens that have occurred less likely"
    )
    sampling.add_argument(
        "--frequency-penalty",
        type=float,
        metavar="X",
        help="penalize tokens by how often they have occurred",
    )
    sampling.add_argument("--seed", type=int, metavar="N", help="the same seed gives the same text")
    length.add_argument(
        "--stop", action="append", metavar="TEXT", type=_unescaped, help="end before TEXT (\\n, \\t; may be repeated)"
    )
    length.add_argument("--ignore-eos", action="store_true", default=None, help="continue after the end token")
    parser.add_argument(
        "--priority",
        type=int,
        metavar="P",
        help="requests with higher priority run first when the server is full, -100 to 100",
    )


def options_of(arguments: argparse.Namespace) -> GenerateOptions:
    """The arguments that have the name of an option of ``generate`` are sent as it."""
    given = {name: value for name, value in vars(arguments).items() if name in GenerateOptions.__annotations__}
    return cast("GenerateOptions", given)


def run(client: Client, arguments: argparse.Namespace) -> int:
    """Print the text as it comes, several samples one after another at the end, or the events as JSON lines."""
    prompt = read_text() if arguments.prompt == "-" else arguments.prompt
    with _generation(client, arguments, prompt) as stream:
        if arguments.json:
            _print_events(stream)
        else:
            _print(stream, arguments, prompt if arguments.echo else "")
        reasons = [sample.reason for sample in stream.finished.samples]
    early = next((reason for reason in reasons if reason in _EARLY), None)
    if early is not None:
        complain(f"the server ended the text early: {early}")
        return 1
    return 0


def _generation(client: Client, arguments: argparse.Namespace, prompt: str) -> GenerationStream:
    options = options_of(arguments)
    if arguments.session is not None:
        session = client.session(arguments.model, arguments.session, version=arguments.version)
        return session.open().generate(prompt, checkpoint=arguments.checkpoint, **options)
    if arguments.checkpoint is not None:
        raise ValueError("--checkpoint keeps the state of a session: name it with --session")
    return client.generate(arguments.model, prompt, **options)


def _print(stream: GenerationStream, arguments: argparse.Namespace, before: str) -> None:
    started = stream.start()  # a refused request prints nothing
    if started.prompt_logprobs:
        _print_tokens(started.prompt_logprobs)
        print()
    with_tokens = arguments.logprobs is not None
    if (arguments.n or 1) > 1:
        _print_samples(stream, before, with_tokens=with_tokens)
    elif with_tokens:
        for piece in stream:
            _print_tokens(piece.logprobs)
    else:
        print(before, end="", flush=True)
        for piece in stream:
            print(piece.text, end="", flush=True)
        print()


def _print_samples(stream: GenerationStream, before: str, *, with_tokens: bool) -> None:
    """Print samples one after another: they grow together, and their pieces would mix."""
    pieces = list(stream)
    for end in stream.finished.samples:
        nats = "" if end.logprob is None else f", {end.logprob:.4f} nats"
        print(f"== sample {end.sample}: {end.reason}, {end.tokens} tokens{nats} ==")
        if with_tokens:
            for piece in pieces:
                _print_tokens(piece.logprobs if piece.sample == end.sample else ())
        else:
            print(before + stream.text(end.sample), flush=True)


def _print_tokens(steps: Iterable[StepLogprobs]) -> None:
    for step in steps:
        others = "".join(f"\t{other.token!r} {other.logprob:.4f}" for other in step.top)
        print(f"{step.chosen.token!r}\t{step.chosen.logprob:.4f}{others}", flush=True)


def _print_events(stream: GenerationStream) -> None:
    print_json(stream.start(), event="started")
    for piece in stream:
        print_json(piece, event="piece")
    print_json(stream.finished, event="finished")


def _unescaped(text: str) -> str:
    """The stop text with the escapes that a shell makes hard to type."""
    return text.replace("\\n", "\n").replace("\\t", "\t")
