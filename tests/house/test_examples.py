"""Every example in the documentation is run, in order, and prints what the page says that it prints.

A block of sh or python is run in a folder with the demo's models and a little data, against the server that the page's
`seqserve-server` block starts. A block of text right after it is its output. An example that cannot be run here stands
under a comment `<!-- not run: why -->`.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
BLOCK = re.compile(
    r"(?P<comment><!-- not run: [^>\n]+ -->\n)?^```(?P<language>\w+)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL
)
ADDRESS = "localhost:50051"  # what the pages say
SERVE = "seqserve-server "

pytestmark = pytest.mark.timeout(600)


class Example(NamedTuple):
    """A block of code, and the output that the page shows for it, if it does."""

    name: str
    language: str
    code: str
    output: str | None


def examples(page: Path) -> list[Example]:
    """The blocks of a page that can be run."""
    text = page.read_text(encoding="utf-8")
    blocks = list(BLOCK.finditer(text))
    found: list[Example] = []
    for index, block in enumerate(blocks):
        if block["comment"] or block["language"] not in {"sh", "python"}:
            continue
        following = blocks[index + 1] if index + 1 < len(blocks) else None
        shown = following is not None and following["language"] == "text"
        line = text[: block.start()].count("\n") + 1
        output = following["code"] if following is not None and shown else None
        found.append(Example(f"{page.name}:{line}", block["language"], block["code"], output))
    return found


EXAMPLES = [example for page in PAGES for example in examples(page)]


def comparable(output: str) -> list[str]:
    """An output without what may differ from machine to machine: decimals and the space that pads tables."""
    return [re.sub(r"\d+\.\d+", "#", line).rstrip() for line in output.strip().splitlines()]


def variables(server: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SEQSERVE_")}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return kept | {
        "PATH": path,
        "SEQSERVE_SERVER": server,
        "PYTHONIOENCODING": "utf-8",
        "COLUMNS": "80",
        "OMP_NUM_THREADS": "1",
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a reader has it: the demo's models, a text, and sentences with tags."""
    place = tmp_path_factory.mktemp("reader")
    shutil.copytree(ROOT / "models", place / "models")
    (place / "input.txt").write_text("All that is gold does not glitter.\n" * 400, encoding="utf-8")
    word = "{0}\t{1}\t{1}\t{2}\t_\t_\t0\t_\t_\t_"
    sentence = "\n".join(
        [word.format(1, "Time", "NOUN"), word.format(2, "flies", "VERB"), word.format(3, ".", "PUNCT")]
    )
    for name in ("train.conllu", "dev.conllu"):
        (place / name).write_text(f"{sentence}\n\n" * 40, encoding="utf-8")
    return place


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[str]:
    """Address of the server that the page's own command started, on a free port."""
    (start,) = {example.code for example in EXAMPLES if example.code.startswith(SERVE)}
    command = start.replace(ADDRESS, "localhost:0").split()
    with subprocess.Popen(command, cwd=folder, env=variables(""), stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            ready = re.match(r"seqserve ready on (\S+)", process.stdout.readline())
            assert ready is not None
            yield ready[1]
        finally:
            process.terminate()


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_example_does_what_the_page_says(example: Example, folder: Path, server: str) -> None:
    if example.code.startswith(SERVE):
        return  # it is running
    code = example.code.replace(ADDRESS, server)
    command = [sys.executable, "-c", code] if example.language == "python" else ["/bin/sh", "-euc", code]
    done = subprocess.run(command, cwd=folder, env=variables(server), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    if example.output is not None:
        assert comparable(done.stdout) == comparable(example.output)


def test_blocks_are_found_with_their_outputs(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "```sh\nfirst\n```\nprints\n```text\nout\n```\n"
        "<!-- not run: why -->\n```sh\nsecond\n```\n```python\nthird\n```\n",
        encoding="utf-8",
    )
    assert [(e.language, e.code, e.output) for e in examples(page)] == [
        ("sh", "first\n", "out\n"),
        ("python", "third\n", None),
    ]
