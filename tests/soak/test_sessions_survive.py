"""Sessions survive kill -9 of the only server and of replicas behind a proxy: the soak tests at a small size."""

import asyncio
import os
import shutil

import pytest

from tests.soak import kill, replicas

pytestmark = pytest.mark.timeout(600)

NO_FAULT = {"lost": 0, "doubled": 0, "missing": 0, "differing": 0}


@pytest.fixture
def programs(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Checks for the programs that a test needs; without one it is skipped, and in CI it fails."""
    monkeypatch.setenv("PATH", f"{os.environ['PATH']}:/usr/sbin")  # where Debian puts haproxy
    for program in request.param:
        if shutil.which(program) is None:
            reason = f"{program} is not installed; on Debian and Ubuntu: apt-get install {program}"
            if os.environ.get("CI") == "true":
                pytest.fail(reason)
            pytest.skip(reason)


@pytest.mark.parametrize(
    ("store", "programs"),
    [("sqlite", ()), ("redis", ("redis-server",))],
    indirect=["programs"],
    ids=["sqlite", "redis"],
)
def test_no_kill_loses_doubles_or_changes_a_token(store: str, programs: None) -> None:
    result = asyncio.run(kill.measure(store, kills=3, sessions=4, seed=0))
    assert {name: result[name] for name in NO_FAULT} == NO_FAULT
    assert result["kills"] == 3
    assert result["requests"] > 0


@pytest.mark.parametrize("programs", [("redis-server", "haproxy")], indirect=True, ids=["three"])
def test_callers_behind_a_proxy_do_not_notice_killed_replicas(programs: None) -> None:
    result = asyncio.run(replicas.measure(requests=60, callers=6, seed=0))
    assert {name: result[name] for name in (*NO_FAULT, "failed")} == {**NO_FAULT, "failed": 0}
    assert result["requests"] >= 60
