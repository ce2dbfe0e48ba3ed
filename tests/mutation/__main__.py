"""Mutation testing: ``python -m tests.mutation --sample N --seed S PATH...`` draws mutants and runs the tests on each.

Prints a line for each mutant and one JSON object at the end. `equivalent.json` lists mutants that change nothing a user
sees, each with its reason; they are not run.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests.mutation.mutants import Mutant, mutants
from tests.mutation.runs import ROOT, Outcome, copied, judge, passes, stages

EQUIVALENT = Path(__file__).with_name("equivalent.json")


class Drawn(NamedTuple):
    """A mutant of the sample, and its module below the repository."""

    file: Path
    mutant: Mutant

    @property
    def key(self) -> tuple[str, str, str]:
        """What names the mutant while lines come and go."""
        return str(self.file), self.mutant.function, self.mutant.change


def sample(paths: Sequence[Path], count: int, seed: int) -> list[Drawn]:
    """Draws mutants of the modules below ``paths``, each as likely as any other; the order is that of the files."""
    files = sorted({file for path in paths for file in ([path] if path.is_file() else path.rglob("*.py"))})
    every = [
        Drawn(file.resolve().relative_to(ROOT), mutant)
        for file in files
        for mutant in mutants(file.read_text(encoding="utf-8"))
    ]
    drawn = random.Random(seed).sample(range(len(every)), min(count, len(every)))
    return [every[index] for index in sorted(drawn)]


def equivalents() -> dict[tuple[str, str, str], str]:
    """Reasons by what names a mutant."""
    listed = json.loads(EQUIVALENT.read_text(encoding="utf-8"))
    return {(each["file"], each["function"], each["change"]): each["reason"] for each in listed}


def main(argv: Sequence[str]) -> int:
    """Runs the sample; 1 if the tests fail without a mutant."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description="Mutation testing.")
    parser.add_argument("paths", metavar="PATH", nargs="+", type=Path, help="module or folder of modules")
    parser.add_argument("--sample", type=int, default=20, metavar="N", help="number of mutants (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the draw (default %(default)s)")
    parser.add_argument(
        "--timeout-s", type=float, default=600.0, help="limit of one run of tests (default %(default)s)"
    )
    parser.add_argument("--list", action="store_true", help="print the sample and run nothing")
    parser.add_argument("--skip-baseline", action="store_true", help="do not run the tests without a mutant first")
    parser.add_argument("--mirrored-only", action="store_true", help="do not run wider tests on what is left")
    arguments = parser.parse_args(argv)
    drawn, known = sample(arguments.paths, arguments.sample, arguments.seed), equivalents()
    outcomes, survivors = Counter[Outcome](), list[str]()
    with copied() as copy:
        if not arguments.list and not arguments.skip_baseline:
            for tests in {tuple(stages(each.file)[0]): None for each in drawn}:
                if not passes(copy, list(tests), arguments.timeout_s):
                    print(f"the tests fail without a mutant: {' '.join(tests)}", file=sys.stderr)
                    return 1
        for each in drawn:
            place = f"{each.file}:{each.mutant.line} {each.mutant.function}: {each.mutant.change}"
            if arguments.list:
                print(place)
                continue
            if each.key in known:
                outcome = Outcome.EQUIVALENT
            else:
                outcome = judge(
                    copy, each.file, each.mutant.source, arguments.timeout_s, wider=not arguments.mirrored_only
                )
            outcomes[outcome] += 1
            if outcome is Outcome.SURVIVED:
                survivors.append(place)
            print(f"{outcome}: {place}", flush=True)
    counted = len(drawn) - outcomes[Outcome.EQUIVALENT]
    killed = outcomes[Outcome.MIRRORED] + outcomes[Outcome.WIDER]
    summary = {name.name.lower(): outcomes[name] for name in Outcome}
    print(
        json.dumps(
            {
                "sample": len(drawn),
                "seed": arguments.seed,
                **summary,
                "killed_part": round(killed / counted, 3) if counted else None,
                "survivors": survivors,
            }
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
