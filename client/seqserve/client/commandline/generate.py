"""``seqserve generate``: text as it comes."""

from __future__ import annotations

import argparse
import sys

from seqserve.client.client import Client
from seqserve.client.commandline.output import complain, print_json
from seqserve.client.generation import FinishReason, Piece
from seqserve.client.streams import GenerationStream

EXAMPLES: str = """examples:
  seqserve generate shakespeare-char "ROMEO:" --max-tokens 300 --temperature 0.8 --seed 1
  seqserve generate shakespeare-char --stop "\\n\\n" --json
"""


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments; what is not given is left to the model's defaults."""
    parser.add_argument("model", metavar="MODEL", help="name of the model")
    parser.add_argument(
        "prompt", metavar="PROMPT", nargs="?", default="", help="text to go on from; - reads it from standard input"
    )
    parser.add_argument("--version", type=int, metavar="N", help="version of the model (default: the newest)")
    parser.add_argument("--max-tokens", type=int, metavar="N", help="most tokens to generate")
    parser.add_argument("--min-tokens", type=int, metavar="N", help="fewest tokens to generate")
    parser.add_argument(
        "--temperature", type=float, metavar="T", help="0 takes the likeliest token, 1 draws as trained"
    )
    parser.add_argument("--top-k", type=int, metavar="K", help="draw from the K likeliest tokens")
    parser.add_argument("--top-p", type=float, metavar="P", help="draw from the likeliest tokens that add up to P")
    parser.add_argument("--min-p", type=float, metavar="P", help="drop tokens below P times the likeliest")
    parser.add_argument("--seed", type=int, metavar="N", help="the same seed gives the same text")
    parser.add_argument(
        "--stop", action="append", metavar="TEXT", type=_unescaped, help="end before TEXT (\\n, \\t; may be repeated)"
    )
    parser.add_argument("--ignore-eos", action="store_true", default=None, help="go on after the end token")
    parser.add_argument(
        "--logprobs", type=int, metavar="K", help="one line a token: the token, its log-probability, the K likeliest"
    )
    parser.add_argument("--echo", action="store_true", help="print the prompt before the text")


def run(client: Client, arguments: argparse.Namespace) -> int:
    """Print the text as it comes, or the events as JSON lines."""
    prompt = sys.stdin.read() if arguments.prompt == "-" else arguments.prompt
    with client.generate(
        arguments.model,
        prompt,
        version=arguments.version,
        max_tokens=arguments.max_tokens,
        min_tokens=arguments.min_tokens,
        temperature=arguments.temperature,
        top_k=arguments.top_k,
        top_p=arguments.top_p,
        min_p=arguments.min_p,
        seed=arguments.seed,
        stop=arguments.stop,
        ignore_eos=arguments.ignore_eos,
        logprobs=arguments.logprobs,
    ) as stream:
        if arguments.json:
            _print_events(stream)
        elif arguments.logprobs is not None:
            for piece in stream:
                _print_tokens(piece)
        else:
            _print_text(stream, prompt if arguments.echo else "")
        reason = stream.finished.reason
    if reason in {FinishReason.CANCELLED, FinishReason.DEADLINE, FinishReason.ERROR}:
        complain(f"the server ended the text early: {reason}")
        return 1
    return 0


def _print_text(stream: GenerationStream, before: str) -> None:
    stream.start()  # a refused request prints no prompt
    print(before, end="", flush=True)
    for piece in stream:
        print(piece.text, end="", flush=True)
    print()


def _print_tokens(piece: Piece) -> None:
    for step in piece.logprobs:
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
