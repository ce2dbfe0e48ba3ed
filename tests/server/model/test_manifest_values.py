"""Values of a manifest that cannot be right are refused at load, with field, range and value."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from seqserve.server.errors import BrokenServableError
from seqserve.server.model.manifest import read_manifest
from seqserve.server.model.manifest_values import check_values
from seqserve.v1 import manifest_pb2 as pb
from tests.conftest import MadeRepository
from tests.servables import edit_manifest

Change = Callable[[pb.Manifest], None]


def sets(path: str, value: float) -> Change:
    """Sets a field by its path."""

    def change(manifest: pb.Manifest) -> None:
        message, _, name = path.rpartition(".")
        target = getattr(manifest, message) if message else manifest
        setattr(target, name, value)

    return change


def state(name: str, value: float) -> Change:
    return lambda manifest: setattr(manifest.states[0], name, value)


def starts_from(*numbers: float) -> Change:
    def change(manifest: pb.Manifest) -> None:
        manifest.states[0].initial_values[:] = numbers

    return change


def scores(name: str, value: float) -> Change:
    def change(manifest: pb.Manifest) -> None:
        getattr(manifest.labels, name).append(value)

    return change


@pytest.mark.parametrize(
    ("change", "expected_message"),
    [
        (sets("vocabulary.unknown_token", 999_999), r"vocabulary\.unknown_token must be in \[0, \d+\), got 999999"),
        (sets("vocabulary.unknown_token", -1), r"vocabulary\.unknown_token must be"),
        (sets("vocabulary.start_token", 999_999), r"vocabulary\.start_token must be"),
        (sets("vocabulary.end_token", 999_999), r"vocabulary\.end_token must be"),
        (sets("vocabulary.mask_token", 999_999), r"vocabulary\.mask_token must be"),
        (sets("vocabulary.word_bytes_max", -3), r"vocabulary\.word_bytes_max must be at least 0, got -3"),
        (sets("limits.tokens_max", -5), r"limits\.tokens_max must be at least 0, got -5"),
        (sets("limits.prompt_tokens_max", -5), r"limits\.prompt_tokens_max must be at least 0, got -5"),
        (sets("limits.generate_tokens_max", -5), r"limits\.generate_tokens_max must be at least 0, got -5"),
        (sets("generation.temperature", math.nan), r"generation\.temperature must be in \[0, 100\], got nan"),
        (sets("generation.temperature", math.inf), r"generation\.temperature must be"),
        (sets("generation.temperature", -1), r"generation\.temperature must be"),
        (sets("generation.max_tokens", 0), r"generation\.max_tokens must be at least 1, got 0"),
        (sets("labels.threshold", math.nan), r"labels\.threshold must be in \[0, 1\), got nan"),
        (sets("labels.threshold", 1.5), r"labels\.threshold must be"),
        (scores("transitions", math.nan), r"labels\.transitions\[0\] must be less than infinity, got nan"),
        (scores("start_scores", math.inf), r"labels\.start_scores\[0\] must be"),
        (scores("end_scores", math.nan), r"labels\.end_scores\[0\] must be"),
        (state("size", 0), r"states\[0\]\.size must be at least 1"),
        (state("element_type", 4), r"states\[0\]\.element_type must be one of"),
        (state("initial_value", math.nan), r"states\[0\]\.initial_value must be finite, got nan"),
        (starts_from(1.0, 2.0), r"states\[0\]\.initial_values must be 0 or \d+ numbers, got 2"),
    ],
)
def test_a_value_that_cannot_be_right_is_refused(made: MadeRepository, change: Change, expected_message: str) -> None:
    manifest = read_manifest(made.lstm.folder)
    check_values(manifest)
    change(manifest)
    with pytest.raises(BrokenServableError, match=f"the manifest's {expected_message}"):
        check_values(manifest)


def test_a_learned_initial_state_has_to_be_finite(made: MadeRepository) -> None:
    manifest = read_manifest(made.lstm.folder)
    size = manifest.states[0].size
    starts_from(*[0.5] * size)(manifest)
    check_values(manifest)
    manifest.states[0].initial_values[size - 1] = math.nan
    with pytest.raises(BrokenServableError, match=rf"initial_values\[{size - 1}\] must be finite"):
        check_values(manifest)


def test_values_are_checked_when_a_servable_is_read(made: MadeRepository, root: Path) -> None:
    folder = Path(shutil.copytree(made.lstm.folder, root / "lm" / "1"))
    edit_manifest(folder, sets("limits.prompt_tokens_max", -5))
    with pytest.raises(BrokenServableError, match=r"limits\.prompt_tokens_max"):
        read_manifest(folder)
