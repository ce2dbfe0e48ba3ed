"""``seqserve models``: what a server can do."""

from __future__ import annotations

import argparse

from rich.table import Table
from rich.text import Text

from seqserve.client._sync.client import Client
from seqserve.client.cli.output import print_json, print_table
from seqserve.client.types.models import Model, ModelDetails

EXAMPLES: str = """examples:
  seqserve models
  seqserve models shakespeare-char
"""


def add(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("model", metavar="MODEL", nargs="?", help="describe this model (default: list all)")
    parser.add_argument("--version", type=int, metavar="N", help="version of the model (default: the newest)")


def run(client: Client, arguments: argparse.Namespace) -> int:
    """Print the models as a table, or one JSON object a line."""
    if arguments.model is not None:
        details = client.model(arguments.model, arguments.version)
        if arguments.json:
            print_json(details)
        else:
            _print_details(details)
        return 0
    models = client.models()
    if arguments.json:
        for model in models:
            print_json(model)
    elif models:
        _print_list(models)
    else:
        print(f"{client.target} serves no models")
    return 0


def _print_list(models: list[Model]) -> None:
    show_reason = any(model.reason for model in models)
    table = Table("model", "version", "task", "state", "provider", *(["why not"] if show_reason else []))
    for model in models:
        name, version = Text(model.servable.model), str(model.servable.version)
        reason = [Text(model.reason)] if show_reason else []
        table.add_row(name, version, _words(model.task), _words(model.state), Text(model.provider), *reason)
    print_table(table)


def _print_details(details: ModelDetails) -> None:
    model, limits = details.model, details.limits
    table = Table(show_header=False)
    rows = {
        "model": model.servable.model,
        "version": str(model.servable.version),
        "digest": model.servable.digest,
        "task": _words(model.task),
        "state": " ".join(filter(None, [_words(model.state), model.reason])),
        "provider": model.provider,
        "description": details.description,
        "license": details.license,
        "vocabulary": _count(details.vocabulary_size, "tokens"),
        "labels": " ".join(details.labels),
        "longest input": _count(details.tokens_max, "tokens"),
        "longest prompt": _count(details.prompt_tokens_max, "tokens"),
        "longest text": _count(details.generate_tokens_max, "tokens"),
        "largest input": _count(limits.text_bytes_max, "bytes"),
        "inputs a request": _count(limits.inputs_max, "at most"),
        **{metric: f"{value:.4g}" for metric, value in details.metrics.items()},
    }
    for name, value in rows.items():
        if value:
            table.add_row(name, Text(value))
    print_table(table)


def _words(name: str) -> str:
    return name.lower().replace("_", " ")


def _count(number: int, unit: str) -> str:
    return f"{number:,} {unit}" if number else ""
