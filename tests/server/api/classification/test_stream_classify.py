"""StreamClassify, as a caller sees it: the answer after each piece, with state carried, and clean ends."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import grpc.aio
import pytest

from seqserve.server.testing import running_server
from seqserve.v1 import classification_pb2 as pb
from seqserve.v1 import common_pb2 as common
from seqserve.v1 import model_pb2, session_pb2, state_pb2
from seqserve.v1.model_pb2_grpc import ModelServiceStub
from seqserve.v1.session_pb2_grpc import SessionServiceStub
from tests.server.api.classification.classifying import END, FLUSH, Classifying, Piece, streamed, whole

INTO = state_pb2.StateOptions(session_id="one", create_if_absent=True)


@pytest.fixture(scope="module")
def classifiers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One-directional classifiers: `max`, `several` (labels a text), `speller`. Do not change it."""
    from tests.servables import make_classifier  # torch takes seconds to import

    root = tmp_path_factory.mktemp("classifiers")
    make_classifier(root / "max", bidirectional=False)
    make_classifier(root / "several", bidirectional=False, multiple=True)
    make_classifier(root / "speller", bidirectional=False, spelling=True)
    return root


@pytest.fixture
async def channel(classifiers: Path) -> AsyncIterator[grpc.aio.Channel]:
    async with running_server(classifiers) as address, grpc.aio.insecure_channel(address) as channel:
        yield channel


def tokens(update: pb.StreamClassifyUpdate) -> tuple[int, int]:
    return update.classification.tokens, update.position


@pytest.mark.parametrize("model", ["max", "several", "speller"])
async def test_after_each_piece_comes_what_classify_says_of_all_so_far(channel: grpc.aio.Channel, model: str) -> None:
    pieces = [["the", "cat"], ["sat"], ["on", "the", "naïve", "mat"], ["."]]
    stream = Classifying(channel, model)
    started = await stream.begin()
    assert (started.servable.model, started.position) == (model, 0)
    so_far: list[str] = []
    for piece in pieces:
        so_far += piece
        await stream.send(piece)  # the answer comes before the next piece is sent
        update = await stream.update()
        assert update.classification == await whole(channel, model, so_far)
        assert tokens(update) == (len(so_far), len(so_far))
    updates, finished = await stream.finish()
    assert updates == []
    assert finished.classification == update.classification
    assert (finished.state.position, finished.reason) == (len(so_far), common.STREAM_END_INPUT)
    assert finished.timing.total_ms >= finished.timing.first_output_ms >= finished.timing.queue_ms >= 0


async def test_a_piece_of_many_runs_has_its_answer_however_soon_the_next_one_comes(channel: grpc.aio.Channel) -> None:
    beside = Classifying(channel, "max")
    await beside.begin()  # with somebody beside it, a piece is read in several runs
    updates, _ = await streamed(channel, "max", [["the", "cat"] * 25] * 30)
    assert [update.position for update in updates] == list(range(50, 1501, 50))


async def test_text_may_be_cut_anywhere_and_a_word_counts_once_it_is_whole(channel: grpc.aio.Channel) -> None:
    stream = Classifying(channel, "max")
    await stream.begin()
    positions: list[int] = []
    for piece, position in (("The c", 1), ("at", None), (" ", None), ("sat", 2), (", o", 4), ("n the mat", 6)):
        await stream.send(piece)
        if position is not None:
            positions.append((await stream.update()).position)
            assert positions[-1] == position
    updates, finished = await stream.finish()
    assert [update.position for update in updates] == [7]
    assert finished.classification == await whole(channel, "max", "The cat sat, on the mat")


async def test_as_many_labels_come_as_were_asked_for(channel: grpc.aio.Channel) -> None:
    updates, finished = await streamed(channel, "max", [["the"]], top_labels=2)
    full = await whole(channel, "max", ["the"])
    for classification in (updates[0].classification, finished.classification):
        assert classification.labels == full.labels[:2]
        assert classification.chosen == full.chosen


@pytest.mark.parametrize("ends", ["half-close", "end"])
async def test_both_ways_to_end_a_stream_answer_everything(channel: grpc.aio.Channel, ends: str) -> None:
    stream = Classifying(channel, "max")
    await stream.begin()
    await stream.send(["the"], ["cat", "sat"])
    if ends == "end":
        await stream.send(END)
        updates, finished = await stream.rest()  # the sending side is still open
    else:
        updates, finished = await stream.finish()
    assert [update.position for update in updates] == [1, 3]
    assert finished.classification == await whole(channel, "max", ["the", "cat", "sat"])
    assert finished.reason == common.STREAM_END_INPUT


async def test_a_stream_without_input_has_no_answer(channel: grpc.aio.Channel) -> None:
    updates, finished = await streamed(channel, "max", [])
    assert updates == []
    assert not finished.HasField("classification")
    assert finished.state.position == 0


async def test_what_has_been_answered_is_not_told_again_by_a_flush(channel: grpc.aio.Channel) -> None:
    stream = Classifying(channel, "max")
    await stream.begin()
    await stream.send(FLUSH, ["the"], FLUSH, FLUSH)
    updates, _ = await stream.finish()
    assert [update.position for update in updates] == [1]


async def test_a_flush_answers_a_word_that_may_go_on(channel: grpc.aio.Channel) -> None:
    stream = Classifying(channel, "max")
    await stream.begin()
    await stream.send("the ca")
    assert (await stream.update()).position == 1
    await stream.send(FLUSH)
    assert (await stream.update()).classification == await whole(channel, "max", "the ca")


@pytest.mark.parametrize("requested", [True, False])
async def test_a_stream_that_gets_no_input_ends_cleanly(classifiers: Path, requested: bool) -> None:
    limits = {} if requested else {"stream_idle_s": 0.1}
    config = {"idle_timeout": {"nanos": 100_000_000}} if requested else {}
    async with running_server(classifiers, limits=limits) as address, grpc.aio.insecure_channel(address) as channel:
        stream = Classifying(channel, "max", state=INTO, **config)
        await stream.begin()
        await stream.send(["the", "cat"])
        updates, finished = await stream.rest()
        assert [update.position for update in updates] == [2]
        assert finished.reason == common.STREAM_END_IDLE
        assert finished.classification == await whole(channel, "max", ["the", "cat"])
        assert (finished.state.position, finished.state.session_id) == (2, "one")


async def test_a_session_goes_on_with_the_answer_that_it_had(channel: grpc.aio.Channel) -> None:
    await streamed(channel, "max", [["the", "cat"]], state=INTO)
    state = state_pb2.StateOptions(session_id="one", expected_position=2)
    stream = Classifying(channel, "max", state=state)
    assert (await stream.begin()).position == 2
    await stream.send(["sat"])
    update = await stream.update()
    assert update.classification == await whole(channel, "max", ["the", "cat", "sat"])
    assert tokens(update) == (3, 3)
    _, finished = await stream.finish()
    assert (finished.state.position, finished.state.session_id) == (3, "one")


async def test_a_snapshot_goes_on_too_and_costs_no_session(channel: grpc.aio.Channel) -> None:
    snapshot = state_pb2.StateOptions(destination=state_pb2.STATE_DESTINATION_SNAPSHOT)
    _, first = await streamed(channel, "max", [["the", "cat"]], state=snapshot)
    updates, _ = await streamed(channel, "max", [["sat"]], state=state_pb2.StateOptions(snapshot=first.state.snapshot))
    assert updates[0].classification == await whole(channel, "max", ["the", "cat", "sat"])
    sessions = await SessionServiceStub(channel).ListSessions(session_pb2.ListSessionsRequest())
    assert len(sessions.sessions) == 0


async def test_a_retried_stream_is_answered_again_and_not_applied_twice(channel: grpc.aio.Channel) -> None:
    pieces: list[Piece] = [["the", "cat"], ["sat"]]
    await streamed(channel, "max", [["a"]], state=INTO)
    first, ended = await streamed(channel, "max", pieces, state=INTO, request_id="r")
    again, repeated = await streamed(channel, "max", pieces, state=INTO, request_id="r")
    assert (again, repeated.classification) == (first, ended.classification)
    assert (ended.state.already_applied, repeated.state.already_applied) == (False, True)
    assert repeated.state.position == 4
    with pytest.raises(
        grpc.aio.AioRpcError,
        match=r"this config\.request_id ended at position 4, this one at 5; use a unique id for each request",
    ):
        await streamed(channel, "max", [*pieces, ["on"]], state=INTO, request_id="r")
    _, finished = await streamed(channel, "max", [["on"]], state=INTO)
    assert finished.state.position == 5


async def test_a_stream_that_its_caller_leaves_keeps_nothing_and_frees_its_session(channel: grpc.aio.Channel) -> None:
    await streamed(channel, "max", [["the"]], state=INTO)
    stream = Classifying(channel, "max", state=INTO)
    await stream.begin()
    await stream.send(["cat"])
    await stream.update()
    stream.call.cancel()
    waits = state_pb2.StateOptions(session_id="one", busy_policy=state_pb2.BUSY_POLICY_WAIT, expected_position=1)
    _, finished = await streamed(channel, "max", [["sat"]], state=waits)
    assert finished.state.position == 2


async def test_kept_tokens_are_those_of_all_forms(channel: grpc.aio.Channel) -> None:
    keep = state_pb2.StateOptions(session_id="one", create_if_absent=True, keep_tokens=True)
    await streamed(channel, "max", [[3, 4]], state=keep)
    await streamed(channel, "max", ["the"], state=INTO)
    await streamed(channel, "max", [[5]], state=INTO)
    exported = await SessionServiceStub(channel).ExportSession(session_pb2.ExportSessionRequest(session_id="one"))
    payload = state_pb2.SnapshotPayload.FromString(state_pb2.Snapshot.FromString(exported.snapshot).payload)
    assert (list(payload.tokens)[:2], len(payload.tokens), payload.tokens[-1]) == ([3, 4], 4, 5)


async def test_streams_side_by_side_get_what_each_would_get_alone(channel: grpc.aio.Channel) -> None:
    texts: list[list[Piece]] = [[["the", "cat"] * (number % 7 + 1), ["sat"] * (number + 1)] for number in range(24)]
    alone = [await streamed(channel, "max", pieces) for pieces in texts]
    together = await asyncio.gather(*(streamed(channel, "max", pieces) for pieces in texts))
    for (updates, finished), (others, ended) in zip(alone, together, strict=True):
        assert updates == others
        assert finished.classification == ended.classification


@pytest.mark.parametrize("rests", [True, False])
async def test_kept_tokens_are_read_again_by_a_newer_version(classifiers: Path, root: Path, rests: bool) -> None:
    from tests.servables import make_classifier  # torch takes seconds to import

    shutil.copytree(classifiers / "max", root / "max")
    sessions = {"on_model_change": "replay"}
    async with running_server(root, sessions=sessions) as address, grpc.aio.insecure_channel(address) as channel:
        keep = state_pb2.StateOptions(session_id="one", create_if_absent=True, keep_tokens=True)
        await streamed(channel, "max", ["the cat"], state=keep)
        make_classifier(root / "max", bidirectional=False, layers=3)
        newest = common.ModelRef(name="max", version=2)
        await ModelServiceStub(channel).LoadModel(model_pb2.LoadModelRequest(model=newest))
        if rests:  # a stream without input brings the state to the newest version too
            updates, finished = await streamed(channel, "max", [], state=keep)
            assert (updates, finished.state.position) == ([], 2)
        _, finished = await streamed(channel, "max", ["sat"], state=keep)
        assert finished.classification == await whole(channel, "max", "the cat sat")
        assert finished.state.position == 3
