"""A session of a classifier survives a killed server: its classification continues where it was."""

from __future__ import annotations

from pathlib import Path

import grpc.aio
import pytest

from seqserve.v1 import session_pb2, state_pb2
from seqserve.v1.session_pb2_grpc import SessionServiceStub
from tests.processes import replica
from tests.server.api.classification.classifying import Classifying, streamed, whole

TEXT = "The cat sat on the mat, the dog"


@pytest.mark.timeout(120)
async def test_a_running_answer_goes_on_after_the_server_was_killed(tmp_path: Path) -> None:
    from tests.servables import make_classifier  # torch takes seconds to import

    make_classifier(tmp_path / "models" / "mean", bidirectional=False, pooling="mean")
    settings = {"SEQSERVE_SESSIONS__PATH": str(tmp_path / "sessions.db")}
    into = state_pb2.StateOptions(session_id="one", create_if_absent=True, checkpoint="begun")
    async with replica.running(tmp_path / "models", settings, tmp_path / "log") as server:
        async with grpc.aio.insecure_channel(server.address) as channel:
            updates, first = await streamed(channel, "mean", ["The cat", " sat "], state=into, request_id="r")
            lost = Classifying(channel, "mean", state=into)  # its server dies while it runs
            await lost.begin()
            await lost.send("on the ")
            await lost.update()
            await server.kill()
        await server.start()
        async with grpc.aio.insecure_channel(server.address) as channel:
            again, repeated = await streamed(channel, "mean", ["The cat", " sat "], state=into, request_id="r")
            assert (again, repeated.classification) == (updates, first.classification)
            assert (repeated.state.position, repeated.state.already_applied) == (3, True)
            fork = session_pb2.ForkSessionRequest(session_id="one", new_session_id="two", checkpoint="begun")
            await SessionServiceStub(channel).ForkSession(fork)
            for name in ("one", "two"):
                state = state_pb2.StateOptions(session_id=name, expected_position=3)
                _, finished = await streamed(channel, "mean", ["on the m", "at, the", " dog"], state=state)
                assert finished.classification == await whole(channel, "mean", TEXT)
                assert finished.state.position == finished.classification.tokens == 9
