"""Snapshots: the same state comes back to the last bit, and nothing broken gets in."""

from __future__ import annotations

import hashlib
import hmac
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqserve.server.errors import ServableMismatchError, SnapshotInvalidError
from seqserve.server.model.sequence_state import SequenceState, TokenCounts
from seqserve.server.model.servable import Servable
from seqserve.server.sessions.snapshot import pack, seal, unpack, unpack_tokens, unseal
from seqserve.v1 import state_pb2 as pb
from tests.server.sessions.rig import Rooms, rooms, same, some

BYTES_MAX = 1 << 16
KEY = b"a key of the server's"
CROWD = 100_000


@pytest.fixture(scope="module")
def all_rooms(models: Path) -> Iterator[Rooms]:
    """Shared by the tests of this file: they only look at the models."""
    with rooms(models) as made:
        yield made


@pytest.fixture(scope="module")
def lstm(all_rooms: Rooms) -> Servable:
    return all_rooms.repository.model("lstm", None).servable


@pytest.fixture(scope="module")
def gru(all_rooms: Rooms) -> Servable:
    return all_rooms.repository.model("gru", None).servable


def a_start(servable: Servable, seed: int = 0, *, kept: bool = True) -> SequenceState:
    """A state that any sequence may have."""
    rng = np.random.default_rng(seed)
    tokens = rng.integers(0, servable.manifest.vocabulary.size, rng.integers(1, 50)).astype(np.int32)
    cut = int(rng.integers(0, len(tokens) + 1))
    return SequenceState(
        state=tuple(rng.standard_normal(tensor.shape).astype(np.float32) * 1e3 for tensor in servable.initial_state()),
        position=len(tokens),
        last_token=int(tokens[-1]),
        counts=TokenCounts().plus(tokens[:cut], tokens[cut:]),
        undecoded=rng.bytes(int(rng.integers(0, 4))),
        tokens=tokens if kept else some(),
    )


@given(seed=st.integers(0, 1 << 32), kept=st.booleans(), key=st.sampled_from([None, KEY]))
def test_what_comes_back_is_what_went_in(lstm: Servable, seed: int, kept: bool, key: bytes | None) -> None:
    start = a_start(lstm, seed, kept=kept)
    data = seal(pack(start, lstm, now_s=1.5e9), key)
    assert same(unpack(unseal(data, key, BYTES_MAX), lstm), start)


def test_a_sequence_without_tokens_is_a_snapshot_too(lstm: Servable) -> None:
    data = seal(pack(SequenceState.new(), lstm, now_s=0), None)
    assert same(unpack(unseal(data, None, BYTES_MAX), lstm), SequenceState.new())


@given(
    seed=st.integers(0, 1 << 32), keyed=st.booleans(), where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7)
)
def test_no_bit_can_be_flipped(lstm: Servable, seed: int, keyed: bool, where: float, bit: int) -> None:
    key = KEY if keyed else None
    data = bytearray(seal(pack(a_start(lstm, seed), lstm, now_s=0), key))
    data[int(where * len(data))] ^= 1 << bit
    with pytest.raises(SnapshotInvalidError):
        unpack(unseal(bytes(data), key, BYTES_MAX), lstm)


@given(seed=st.integers(0, 1 << 32), keyed=st.booleans(), where=st.floats(0, 1, exclude_max=True))
def test_nothing_can_be_cut_off(lstm: Servable, seed: int, keyed: bool, where: float) -> None:
    key = KEY if keyed else None
    data = seal(pack(a_start(lstm, seed), lstm, now_s=0), key)
    with pytest.raises(SnapshotInvalidError):
        unpack(unseal(data[: int(where * len(data))], key, BYTES_MAX), lstm)


@given(data=st.binary(max_size=300))
def test_no_bytes_of_any_kind_get_in(lstm: Servable, data: bytes) -> None:
    with pytest.raises(SnapshotInvalidError):
        unpack(unseal(data, None, BYTES_MAX), lstm)
    inner = pb.Snapshot(format_version=1, payload=data, sha256=hashlib.sha256(data).digest()).SerializeToString()
    with pytest.raises((SnapshotInvalidError, ServableMismatchError)):
        unpack(unseal(inner, None, BYTES_MAX), lstm)


Break = Callable[[pb.SnapshotPayload], None]


def breaks(path: str, value: object) -> Break:
    """Set a field of the payload, or of a message in it."""

    def change(payload: pb.SnapshotPayload) -> None:
        *outer, name = path.split(".")
        message: object = payload
        for part in outer:
            message = message[int(part)] if part.isdigit() else getattr(message, part)  # type: ignore[index]
        setattr(message, name, value)

    return change


def floats(*values: float) -> Break:
    def change(payload: pb.SnapshotPayload) -> None:
        data = np.frombuffer(payload.tensors[0].data, np.float32).copy()
        data[-len(values) :] = values
        payload.tensors[0].data = data.tobytes()

    return change


def drop_tensor(payload: pb.SnapshotPayload) -> None:
    del payload.tensors[-1]


def many_tensors(payload: pb.SnapshotPayload) -> None:
    for _ in range(1000):
        payload.tensors.add(name="x" * 10)


def swap_tensors(payload: pb.SnapshotPayload) -> None:
    payload.tensors[0].name, payload.tensors[1].name = payload.tensors[1].name, payload.tensors[0].name


def huge_shape(payload: pb.SnapshotPayload) -> None:
    payload.tensors[0].shape[:] = [2**31 - 1] * 30


def count_twice(payload: pb.SnapshotPayload) -> None:
    payload.generation.counts.token_ids.insert(0, payload.generation.counts.token_ids[0])
    payload.generation.counts.prompt.insert(0, 0)
    payload.generation.counts.generated.insert(0, 0)


def count_what_is_not_there(payload: pb.SnapshotPayload) -> None:
    payload.generation.counts.token_ids[-1] = 10**6


def count_below_zero(payload: pb.SnapshotPayload) -> None:
    payload.generation.counts.prompt[0] -= 100
    payload.generation.counts.generated[0] += 100


def count_too_little(payload: pb.SnapshotPayload) -> None:
    payload.generation.counts.prompt[0] = 2**30


def count_too_much(payload: pb.SnapshotPayload) -> None:
    payload.generation.counts.prompt[0] = 2**30 + 1


def drop_a_count(payload: pb.SnapshotPayload) -> None:
    del payload.generation.counts.generated[-1]


def change_a_token(payload: pb.SnapshotPayload) -> None:
    payload.tokens[0] = -1


def drop_a_token(payload: pb.SnapshotPayload) -> None:
    del payload.tokens[0]


def end_on_another_token(payload: pb.SnapshotPayload) -> None:
    payload.tokens[-1] = (payload.tokens[-1] + 1) % 30


def drop_last_token(payload: pb.SnapshotPayload) -> None:
    payload.ClearField("last_token")


def go_back_to_the_beginning(payload: pb.SnapshotPayload) -> None:
    payload.position = 0


@pytest.mark.parametrize(
    ("broken", "expected_message"),
    [
        (floats(float("nan")), "tensor '.*' has numbers that are not finite"),
        (floats(float("inf"), 0.0), "tensor '.*' has numbers that are not finite"),
        (drop_tensor, "tensors must be"),
        (many_tensors, "tensors must be"),
        (swap_tensors, "tensors must be"),
        (huge_shape, "must have shape"),
        (
            breaks("tensors.0.element_type", pb.ELEMENT_TYPE_INT64),
            r"must have element type 1 \(see ElementType\), got 4",
        ),
        (breaks("tensors.0.element_type", 99), "must have element type .*, got 99"),
        (breaks("tensors.0.data", b""), "must have 96 bytes for its shape, got 0"),
        (breaks("tensors.1.data", b"\0" * 97), "must have 96 bytes for its shape, got 97"),
        (breaks("position", -1), r"position must be in \[0, 9007199254740992\], got -1"),
        (breaks("position", 2**53), "must keep 9007199254740992 tokens|must add up to its position"),
        (breaks("position", 2**53 + 1), r"position must be in \[0, 9007199254740992\], got 9007199254740993"),
        (breaks("position", 2**63 - 1), r"position must be in \[0, 9007199254740992\], got 9223372036854775807"),
        (go_back_to_the_beginning, "is at position 0, so it must have neither tensors nor tokens"),
        (breaks("last_token", -1), "last_token must be in .*, got -1"),
        (breaks("last_token", 2**31 - 1), "last_token must be in .*, got 2147483647"),
        (drop_last_token, "needs last_token"),
        (breaks("generation.undecoded", b"abcd"), "undecoded must have at most 3 bytes, got 4"),
        (count_twice, "not in order"),
        (count_what_is_not_there, "outside the vocabulary"),
        (count_below_zero, "negative counts"),
        (count_too_little, "must add up to its position"),
        (count_too_much, r"counts must be in \[0, 1073741824\], got 1073741825"),
        (drop_a_count, "one for each token"),
        (change_a_token, "tokens must be in"),
        (drop_a_token, "or none"),
        (end_on_another_token, "must be its last_token"),
    ],
)
def test_what_is_broken_is_told(lstm: Servable, broken: Break, expected_message: str) -> None:
    payload = pack(a_start(lstm, 3), lstm, now_s=0)
    broken(payload)
    with pytest.raises(SnapshotInvalidError, match=expected_message):
        unpack(unseal(seal(payload, KEY), KEY, BYTES_MAX), lstm)


def test_a_snapshot_of_another_model_is_refused_with_both_digests(lstm: Servable, gru: Servable) -> None:
    payload = pack(a_start(gru), gru, now_s=0)
    with pytest.raises(ServableMismatchError, match=r"belongs to gru/1 .* has another graph than lstm/1") as caught:
        unpack(payload, lstm)
    assert caught.value.metadata == {"state_digest": gru.id.digest, "servable_digest": lstm.id.digest}
    payload.servable.digest = lstm.id.digest  # a lie does not help: the tensors are others
    with pytest.raises(SnapshotInvalidError, match="tensors must be"):
        unpack(payload, lstm)
    payload = pack(a_start(lstm), lstm, now_s=0)
    payload.tokenizer_sha256 = bytes(32)
    with pytest.raises(ServableMismatchError, match="has another tokenizer"):
        unpack(payload, lstm)


def test_a_state_of_another_precision_is_refused_with_that_reason(tmp_path: Path) -> None:
    from seqserve.training.config.optimisation import Precision
    from tests.servables import make_language_model

    make_language_model(tmp_path / "plain", hidden_size=8)
    make_language_model(tmp_path / "small", hidden_size=8, precision=Precision.INT8)
    with rooms(tmp_path) as made:
        plain, small = (made.repository.model(name, None).servable for name in ("plain", "small"))
        for theirs, ours, expected_message in (
            (plain, small, "belongs to plain/1 .* which computes in float32, not in int8 as small/1"),
            (small, plain, "belongs to small/1 .* which computes in int8, not in float32 as plain/1"),
        ):
            payload = unseal(seal(pack(a_start(theirs), theirs, now_s=0), KEY), KEY, BYTES_MAX)
            with pytest.raises(ServableMismatchError, match=expected_message):
                unpack(payload, ours)
            kept = a_start(theirs)
            read_again = unpack_tokens(pack(kept, theirs, now_s=0), ours)  # tokens mean the same to both
            np.testing.assert_array_equal(read_again.tokens, kept.tokens)


def test_no_bytes_at_all_are_told_as_that() -> None:
    with pytest.raises(SnapshotInvalidError, match="the snapshot is empty"):
        unseal(b"", None, BYTES_MAX)


def test_only_what_the_key_signed_is_taken(lstm: Servable) -> None:
    payload = pack(a_start(lstm), lstm, now_s=0)
    for data, expected_message in (
        (seal(payload, None), "is not signed"),
        (seal(payload, b"another key"), "signature of another server"),
    ):
        with pytest.raises(SnapshotInvalidError, match=expected_message):
            unseal(data, KEY, BYTES_MAX)
    signed = pb.Snapshot.FromString(seal(payload, KEY))
    assert signed.hmac_sha256 == hmac.digest(KEY, signed.payload, "sha256")
    assert unseal(signed.SerializeToString(), None, BYTES_MAX) == payload  # a server without a key does not look


def test_another_format_and_a_size_over_the_limit_are_refused_first(lstm: Servable) -> None:
    snapshot = pb.Snapshot.FromString(seal(pack(a_start(lstm), lstm, now_s=0), None))
    snapshot.format_version = 2
    with pytest.raises(SnapshotInvalidError, match="format version must be 1, got 2"):
        unseal(snapshot.SerializeToString(), None, BYTES_MAX)
    with pytest.raises(SnapshotInvalidError, match="must have at most 65536 bytes, got 65537"):
        unseal(bytes(BYTES_MAX + 1), None, BYTES_MAX)


def test_kept_tokens_are_read_again_by_another_graph_with_the_same_tokenizer(lstm: Servable, gru: Servable) -> None:
    start = a_start(lstm, 1)
    again = unpack_tokens(pack(start, lstm, now_s=0), gru)
    assert (again.state, again.position, again.last_token) == (None, start.position, start.last_token)
    assert again.pending.tolist() == start.tokens.tolist()
    with pytest.raises(ServableMismatchError):
        unpack_tokens(pack(a_start(lstm, 1, kept=False), lstm, now_s=0), gru)


def crowd_of_tensors(payload: pb.SnapshotPayload) -> None:
    payload.tensors.extend([pb.StateTensor()] * CROWD)


def crowd_of_axes(payload: pb.SnapshotPayload) -> None:
    payload.tensors[0].shape.extend([1] * CROWD)


def crowd_of_counts(payload: pb.SnapshotPayload) -> None:
    counts = payload.generation.counts
    for each in (counts.token_ids, counts.prompt, counts.generated):
        each.extend([1] * CROWD)


@pytest.mark.parametrize("crowd", [crowd_of_tensors, crowd_of_axes, crowd_of_counts])
def test_what_is_far_too_much_is_refused_without_looking_at_all_of_it(lstm: Servable, crowd: Break) -> None:
    payload = pack(a_start(lstm, 3), lstm, now_s=0)
    crowd(payload)
    tracemalloc.start()
    try:
        with pytest.raises(SnapshotInvalidError):
            unpack(payload, lstm)
        _, limit = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert limit < CROWD


def test_memory_stays_flat_however_many_are_refused(lstm: Servable) -> None:
    payload = pack(a_start(lstm, 3), lstm, now_s=0)
    payload.servable.model = "x" * (BYTES_MAX // 2)
    floats(float("nan"))(payload)
    data = seal(payload, None)

    def refuse() -> None:
        with pytest.raises(SnapshotInvalidError):
            unpack(unseal(data, None, BYTES_MAX), lstm)

    for _ in range(20):
        refuse()
    tracemalloc.start()
    try:
        refuse()
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(200):
            refuse()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < BYTES_MAX
