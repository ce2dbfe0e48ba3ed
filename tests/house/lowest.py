"""Constraints for the lowest versions that pyproject.toml allows: ``python tests/house/lowest.py > constraints.txt``.

Standard library only: it runs before anything is installed.
"""

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PINNED = {"torch", "matplotlib", "tensorboard"}
"""Not lowered: gigabytes to download, or only pictures. constraints.txt has their versions."""
LOWEST = re.compile(r"([A-Za-z0-9_.-]+)(?:\[[^]]*\])?>=([0-9.]+)")


def normalized(name: str) -> str:
    """A distribution's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def lowest_versions() -> dict[str, str]:
    """The lower bound of each distribution that the package or one of its extras needs."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    requirements = [
        *project["dependencies"],
        *(each for extra in project["optional-dependencies"].values() for each in extra),
    ]
    found: dict[str, str] = {}
    for requirement in requirements:
        if requirement.startswith("seqserve["):
            continue
        match = LOWEST.match(requirement)
        if match is None:
            raise ValueError(f"pyproject.toml: {requirement!r} has no lower bound; write it as name>=version")
        name, version = normalized(match[1]), match[2]
        if found.setdefault(name, version) != version:
            raise ValueError(f"pyproject.toml: {name} has the lower bounds {found[name]} and {version}; write the same")
    return found


def constraints() -> list[str]:
    """Lines of a constraints file: the lowest versions, and those of ``PINNED`` as constraints.txt has them."""
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [
        *(f"{name}=={version}" for name, version in lowest_versions().items() if name not in PINNED),
        *(line for line in pins if normalized(line.split("==")[0]) in PINNED),
    ]


if __name__ == "__main__":
    sys.stdout.write("\n".join(constraints()) + "\n")
