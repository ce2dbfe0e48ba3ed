"""Sessions of taggers and classifiers: their state has consumed all input, and no other task can continue it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from seqserve.server.errors import (
    InvalidFieldError,
    ServableMismatchError,
    SnapshotInvalidError,
    TaskMismatchError,
)
from seqserve.server.model.sequence_state import Sentence, SequenceState, TokenCounts
from seqserve.server.sessions import Destination, FinalState, StateSpec
from seqserve.server.sessions.snapshot import pack, unpack, unpack_tokens
from seqserve.v1 import common_pb2, session_pb2
from seqserve.v1 import state_pb2 as pb
from tests.calls import refusal
from tests.server.sessions.rig import OWNER, Rooms, final_state, into, request, rooms, same, some
from tests.server.sessions.wire import Caller, serving

TASKS = ("tagger", "chain", "classifier")


@pytest.fixture(scope="module")
def all_rooms(tasks: Path) -> Iterator[Rooms]:
    """Shared by the tests that only look at the models."""
    with rooms(tasks) as made:
        yield made


@pytest.fixture
def at(tasks: Path) -> Iterator[Rooms]:
    with rooms(tasks) as made:
        yield made


def ref(name: str) -> tuple[str, int | None]:
    return name, None


def a_start(at: Rooms, name: str, *tokens: int, **changed: object) -> SequenceState:
    """After these tokens, which are kept."""
    end = final_state(at.repository.model(name, None), SequenceState.new(), some(*tokens))
    counts = TokenCounts() if end.last_token is None else TokenCounts().plus(some(*tokens), some())
    start = SequenceState(end.state, end.position, end.last_token, counts, tokens=some(*tokens), sentence=end.sentence)
    return replace(start, **changed)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", TASKS)
async def test_a_session_goes_on_after_its_last_token_and_feeds_none_again(at: Rooms, name: str) -> None:
    await request(at, into(), 1, 2, 3, ref=ref(name))
    async with at.sessions.begin(into(), ref(name), OWNER) as transaction:
        start = transaction.initial
        assert (start.position, start.last_token, len(start.pending), len(start.tokens)) == (3, None, 0, 0)
        assert (len(start.counts.ids), start.undecoded) == (0, b"")
        assert not transaction.keeps_tokens
    await request(at, into(), 4, 5, ref=ref(name))
    await request(at, into("whole"), 1, 2, 3, 4, 5, ref=ref(name))
    one, whole = [(await at.admin.get(OWNER, each)).stored.state for each in ("one", "whole")]
    assert one.tensors == whole.tensors
    assert one.ByteSize() <= 1.1 * sum(len(tensor.data) for tensor in one.tensors) + 512


async def test_a_tagger_remembers_where_its_sentence_began_and_what_its_last_label_was(at: Rooms) -> None:
    for name, label in (("tagger", None), ("chain", 3)):
        async with at.sessions.begin(into(name), ref(name), OWNER) as transaction:
            end = final_state(transaction.model, transaction.initial, some(1, 2, 3))
            await transaction.commit(replace(end, sentence=Sentence(2, label)))
        snapshot, _ = await at.admin.export(OWNER, name, "")
        await at.admin.import_(OWNER, f"{name}-2", snapshot, None, "")
        await at.admin.fork(OWNER, name, f"{name}-3", "", None, None, "")
        for each in (name, f"{name}-2", f"{name}-3"):
            async with at.sessions.begin(into(each), ref(name), OWNER) as transaction:
                assert transaction.initial.sentence == Sentence(2, label)


async def test_a_stream_without_a_token_leaves_its_session_at_the_beginning(at: Rooms) -> None:
    async with at.sessions.begin(into(), ref("classifier"), OWNER) as transaction:
        state = transaction.model.servable.initial_state()
        assert (await transaction.commit(FinalState(state, 0, None, some()))).position == 0
    async with at.sessions.begin(into(), ref("classifier"), OWNER) as transaction:
        assert same(transaction.initial, SequenceState.new())


Break = Callable[[pb.SnapshotPayload], None]


def end_with_a_token(payload: pb.SnapshotPayload) -> None:
    payload.last_token = 1


def remember_a_sentence(payload: pb.SnapshotPayload) -> None:
    payload.tagging.sentence_position = 1


def forget_the_sentence(payload: pb.SnapshotPayload) -> None:
    payload.ClearField("tagging")


def count_tokens(payload: pb.SnapshotPayload) -> None:
    payload.generation.counts.token_ids.append(1)
    payload.generation.counts.prompt.append(3)
    payload.generation.counts.generated.append(0)


def begin_the_sentence_at(position: int) -> Break:
    def change(payload: pb.SnapshotPayload) -> None:
        payload.tagging.sentence_position = position

    return change


def label(index: int) -> Break:
    def change(payload: pb.SnapshotPayload) -> None:
        payload.tagging.last_label = index

    return change


def lose_the_label(payload: pb.SnapshotPayload) -> None:
    payload.tagging.ClearField("last_label")


def keep_a_token_that_is_not_there(payload: pb.SnapshotPayload) -> None:
    payload.tokens[-1] = 1000


@pytest.mark.parametrize(
    ("name", "broken", "expected_message"),
    [
        ("classifier", end_with_a_token, "TASK_CLASSIFICATION must not have last_token"),
        ("classifier", remember_a_sentence, "TASK_CLASSIFICATION must not have tagging"),
        ("classifier", count_tokens, "has the state of a generation, but its model does not generate"),
        ("classifier", keep_a_token_that_is_not_there, "tokens must be in"),
        ("tagger", end_with_a_token, "TASK_TAGGING must not have last_token"),
        ("tagger", forget_the_sentence, "TASK_TAGGING needs tagging"),
        ("tagger", begin_the_sentence_at(4), r"sentence_position must be in \[0, 3\], its position, got 4"),
        ("tagger", begin_the_sentence_at(-1), "sentence_position must be in .*, got -1"),
        ("tagger", label(0), "must have a last_label within a sentence of a CRF, and only there"),
        ("chain", label(5), r"last_label must be in \[0, 5\), got 5"),
        ("chain", label(-1), "last_label must be in .*, got -1"),
        ("chain", lose_the_label, "must have a last_label within a sentence of a CRF, and only there"),
        ("chain", begin_the_sentence_at(3), "must have a last_label within a sentence of a CRF, and only there"),
        ("lstm", remember_a_sentence, "TASK_LANGUAGE_MODEL must not have tagging"),
    ],
)
def test_what_is_broken_is_told(all_rooms: Rooms, name: str, broken: Break, expected_message: str) -> None:
    servable = all_rooms.repository.model(name, None).servable
    payload = pack(a_start(all_rooms, name, 1, 2, 3), servable, now_s=0)
    assert unpack(payload, servable).position == 3
    broken(payload)
    with pytest.raises(SnapshotInvalidError, match=expected_message):
        unpack(payload, servable)


def test_at_the_beginning_there_is_no_sentence_to_remember(all_rooms: Rooms) -> None:
    servable = all_rooms.repository.model("chain", None).servable
    for broken in (label(1), begin_the_sentence_at(1)):
        payload = pack(SequenceState.new(), servable, now_s=0)
        assert same(unpack(payload, servable), SequenceState.new())
        broken(payload)
        with pytest.raises(SnapshotInvalidError, match="at position 0, so it must have neither"):
            unpack(payload, servable)


async def test_tokens_are_kept_only_where_they_are_all_that_is_read(at: Rooms) -> None:
    for model in TASKS:
        await request(at, into(model, keep_tokens=True), 1, 2, ref=ref(model))
        await request(at, into(model), 3, ref=ref(model))
        assert list((await at.admin.get(OWNER, model)).stored.state.tokens) == [1, 2, 3]
    spec = into(keep_tokens=True)
    with pytest.raises(InvalidFieldError, match="'speller' reads more than token ids") as caught:
        await request(at, spec, 1, ref=ref("speller"))
    assert caught.value.field == "state.keep_tokens"
    with pytest.raises(InvalidFieldError, match="'speller' reads more than token ids"):
        await at.admin.create(OWNER, "x", ref("speller"), None, "", keep_tokens=True)
    servable = at.repository.model("speller", None).servable
    start = SequenceState(servable.initial_state(), 1)
    payload = pack(start, servable, now_s=0)
    assert unpack(payload, servable).position == 1
    payload.tokens.append(1)
    with pytest.raises(SnapshotInvalidError, match="its model reads more than token ids"):
        unpack(payload, servable)


def test_of_a_tagger_only_its_sentence_is_read_again(all_rooms: Rooms) -> None:
    tagger, chain = (all_rooms.repository.model(name, None).servable for name in ("tagger", "chain"))
    payload = pack(a_start(all_rooms, "tagger", 1, 2, 3, 4, sentence=Sentence(3)), tagger, now_s=0)
    again = unpack_tokens(payload, tagger)
    assert (again.state, again.position, again.pending.tolist()) == (None, 4, [4])
    payload = pack(a_start(all_rooms, "tagger", 1, 2, sentence=Sentence(2)), tagger, now_s=0)
    assert unpack_tokens(payload, tagger).pending.tolist() == []
    within = pack(a_start(all_rooms, "chain", 1, 2), chain, now_s=0)
    with pytest.raises(ServableMismatchError):  # the tokens do not tell which label the next one follows
        unpack_tokens(within, chain)
    after = pack(a_start(all_rooms, "chain", 1, 2, sentence=Sentence(2)), chain, now_s=0)
    assert unpack_tokens(after, chain).position == 2


async def test_replayed_kept_tokens_go_on_with_the_newest(tasks: Path, tmp_path: Path) -> None:
    from tests.servables import make_classifier  # torch takes seconds to import

    root = Path(shutil.copytree(tasks, tmp_path / "models"))
    with rooms(root, on_model_change="replay") as at:
        await request(at, into(keep_tokens=True), 1, 2, ref=ref("classifier"))
        make_classifier(root / "classifier", bidirectional=False)
        await at.repository.load_version("classifier", None)
        async with at.sessions.begin(into(), ref("classifier"), OWNER) as transaction:
            assert (transaction.model.servable.id.version, transaction.initial.pending.tolist()) == (2, [1, 2])
        await request(at, into(), 3, ref=ref("classifier"))
        await request(at, into("whole"), 1, 2, 3, ref=ref("classifier"))
        one, whole = [(await at.admin.get(OWNER, each)).stored.state for each in ("one", "whole")]
        assert one.tensors == whole.tensors


@pytest.mark.parametrize("policy", ["pin", "replay", "refuse"])
async def test_no_model_goes_on_with_the_session_of_another_task(tasks: Path, policy: str) -> None:
    with rooms(tasks, on_model_change=policy) as at:
        for name in ("tagger", "classifier"):  # of the same tokenizer
            await request(at, into(name, keep_tokens=True), 1, 2, ref=ref(name))
        for name, other in (("tagger", "classifier"), ("classifier", "tagger"), ("tagger", "lstm")):
            with pytest.raises(ServableMismatchError, match=f"belongs to {name}/1 .* than {other}/1"):
                await request(at, into(name), 3, ref=ref(other))


@pytest.mark.parametrize("destination", [Destination.SESSION, Destination.SNAPSHOT])
async def test_a_model_of_both_directions_has_no_sessions(at: Rooms, destination: Destination) -> None:
    spec = into(destination=destination) if destination is Destination.SESSION else StateSpec(destination=destination)
    with pytest.raises(TaskMismatchError, match="'both' reads its input in both directions"):
        await request(at, spec, 1, ref=ref("both"))
    with pytest.raises(TaskMismatchError, match="'both' reads its input in both directions"):
        await at.admin.create(OWNER, "x", ref("both"), None, "", keep_tokens=False)


async def test_text_is_not_generated_in_the_session_of_a_tagger(tasks: Path) -> None:
    async with serving(tasks) as channel:
        caller = Caller(channel)
        tagger = common_pb2.ModelRef(name="tagger")
        created = await caller.call(session_pb2.CreateSessionRequest(model=tagger, session_id="one"))
        assert (created.session.servable.model, created.session.position) == ("tagger", 0)
        result = await refusal(caller.generate("the cat", session_id="one"))
        assert (result.reason, result.code.name) == ("ERROR_REASON_SERVABLE_MISMATCH", "FAILED_PRECONDITION")
        assert "the state belongs to tagger/1" in result.message
        assert "continue it with its own version" in result.message
