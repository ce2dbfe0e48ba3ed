"""The soak tests of requests at a small size: faults are reported, mutations are what they claim to be."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest

from tests.soak import fuzz, requests
from tests.soak.mutations import Mutator
from tests.soak.random_requests import RequestSource
from tests.soak.run import Conversation, Report
from tests.soak.wire import METHODS, Outcome

COUNT = 300


def test_requests_are_drawn_for_every_method() -> None:
    assert set(RequestSource(0).methods) == set(METHODS)


def test_the_same_seed_draws_the_same_calls() -> None:
    sources = RequestSource(5), RequestSource(5)
    assert [sources[0].draw() for _ in range(100)] == [sources[1].draw() for _ in range(100)]


def test_most_mutations_change_a_call_and_equal_seeds_change_it_equally() -> None:
    source, mutators = RequestSource(1), (Mutator(3), Mutator(3))
    changed = 0
    for _ in range(200):
        name, messages = source.draw()
        mutated = [mutator.mutate(name, messages) for mutator in mutators]
        assert mutated[0] == mutated[1]
        changed += mutated[0] != (name, messages, None)
    assert changed > 100


@pytest.mark.parametrize(
    ("outcome", "fault"),
    [
        (Outcome(grpc.StatusCode.OK, "", "", ()), ""),
        (Outcome(grpc.StatusCode.NOT_FOUND, "no session", "ERROR_REASON_SESSION_NOT_FOUND", ()), ""),
        (Outcome(grpc.StatusCode.NOT_FOUND, "no session", "", ()), "NOT_FOUND without a reason: no session"),
        (Outcome(grpc.StatusCode.INTERNAL, "id 3f", "ERROR_REASON_INTERNAL", ()), "INTERNAL: id 3f"),
        (Outcome(grpc.StatusCode.UNKNOWN, "Unexpected", "", ()), "UNKNOWN: Unexpected"),
    ],
)
def test_a_fault_is_recognized(outcome: Outcome, fault: str) -> None:
    assert outcome.fault == fault


def test_growth_is_that_of_the_second_half() -> None:
    assert Report(rss_mib=[10.0 * number for number in range(50)] + [500.0] * 50).growth_mib == 0.0
    assert Report(rss_mib=[100.0] * 50 + [100.0 + number for number in range(50)]).growth_mib > 30.0


def test_a_fault_names_the_call_that_reproduces_it() -> None:
    report = Report()
    report.add_fault("INTERNAL", Conversation("Generate", [b"\n\x02lm", b"\x01"]))
    assert report.faults == [{"fault": "INTERNAL", "call": "Generate 0a026c6d 01"}]


async def test_valid_requests_are_answered_or_refused_with_a_reason(tmp_path: Path) -> None:
    report = await requests.measure(COUNT, 0, tmp_path)
    assert report.faults == []
    assert report.invalid == []
    assert sum(report.codes.values()) == COUNT
    assert report.canaries > COUNT // 50


async def test_mutated_requests_are_answered_or_refused_with_a_reason(tmp_path: Path) -> None:
    report = await fuzz.measure(COUNT, 0, tmp_path)
    assert report.faults == []
    assert sum(report.codes.values()) == COUNT
