"""Flow control of the load generator: what may be sent is sent, what may not waits, and nothing is lost."""

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from benchmarks.loadgen.flow_control import DEFAULT_WINDOW, Outbox, Part


class Sending(RuleBasedStateMachine):
    """Streams that are fed at random, and a peer that counts what it has granted and got."""

    def __init__(self) -> None:
        super().__init__()
        self.outbox = Outbox()
        self.initial = DEFAULT_WINDOW
        self.granted = DEFAULT_WINDOW  # bytes that the connection may still take
        self.rooms: dict[int, int] = {}  # the same of each stream
        self.given: dict[int, bytes] = {}
        self.got: dict[int, bytes] = {}
        self.closed: set[int] = set()
        self.ended: set[int] = set()

    def receive(self, parts: list[Part]) -> None:
        """Take what was sent as the peer does."""
        for part in parts:
            assert 0 < len(part.data) <= self.outbox.frame_max
            self.granted -= len(part.data)
            self.rooms[part.stream] -= len(part.data)
            assert self.granted >= 0
            assert self.rooms[part.stream] >= 0
            assert part.stream not in self.ended
            self.got[part.stream] += part.data
            if part.ends:
                self.ended.add(part.stream)

    @rule()
    def open(self) -> None:
        stream = 2 * len(self.rooms) + 1
        self.outbox.open(stream)
        self.rooms[stream] = self.initial
        self.given[stream] = self.got[stream] = b""

    @precondition(lambda self: len(self.closed) < len(self.rooms))
    @rule(data=st.data(), size=st.integers(1, 100_000), byte=st.integers(0, 255), ends=st.booleans())
    def send(self, data: st.DataObject, size: int, byte: int, ends: bool) -> None:
        stream = data.draw(st.sampled_from(sorted(self.rooms.keys() - self.closed)))
        self.given[stream] += bytes([byte]) * size
        if ends:
            self.closed.add(stream)
        self.receive(self.outbox.send(stream, bytes([byte]) * size, ends=ends))

    @rule(size=st.integers(1, 200_000))
    def grant(self, size: int) -> None:
        self.granted += size
        self.receive(self.outbox.grow(0, size))

    @precondition(lambda self: bool(self.rooms))
    @rule(data=st.data(), size=st.integers(1, 200_000))
    def grant_stream(self, data: st.DataObject, size: int) -> None:
        stream = data.draw(st.sampled_from(sorted(self.rooms)))
        self.rooms[stream] += size
        self.receive(self.outbox.grow(stream, size))

    @rule(initial=st.integers(0, 300_000))
    def resize(self, initial: int) -> None:
        """Streams may owe room after this; then nothing of theirs may be sent."""
        for stream in self.rooms:
            self.rooms[stream] += initial - self.initial
        self.initial = initial
        self.receive(self.outbox.resize(initial))

    @rule(size=st.integers(16_384, 2**24 - 1))
    def frames(self, size: int) -> None:
        self.outbox.frame_max = size

    @invariant()
    def what_fits_was_sent(self) -> None:
        for stream, given_ in self.given.items():
            got = self.got[stream]
            assert given_.startswith(got)
            if self.granted > 0 and self.rooms[stream] > 0:
                assert got == given_
            assert (stream in self.ended) == (stream in self.closed and got == given_)


TestSending = Sending.TestCase


@given(st.binary(min_size=1, max_size=100))
def test_a_stream_that_was_dropped_sends_nothing_more(message: bytes) -> None:
    outbox = Outbox()
    outbox.open(1)
    outbox.resize(0)
    assert outbox.send(1, message) == []
    outbox.drop(1)
    assert outbox.grow(1, 1000) == outbox.resize(1000) == []
