"""Flow control of the load generator: permitted bytes are sent, others wait, and none is lost."""

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from benchmarks.loadgen.flow_control import DEFAULT_WINDOW, Outbox, Part


class Sending(RuleBasedStateMachine):
    """Streams that send at random, and a peer that counts granted and received bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.outbox = Outbox()
        self.initial = DEFAULT_WINDOW
        self.granted = DEFAULT_WINDOW  # bytes that the connection may still take
        self.rooms: dict[int, int] = {}  # the same of each stream
        self.sent: dict[int, bytes] = {}
        self.received: dict[int, bytes] = {}
        self.closed: set[int] = set()
        self.ended: set[int] = set()

    def receive(self, parts: list[Part]) -> None:
        """Receives parts like the peer."""
        for part in parts:
            assert 0 < len(part.data) <= self.outbox.frame_max
            self.granted -= len(part.data)
            self.rooms[part.stream] -= len(part.data)
            assert self.granted >= 0
            assert self.rooms[part.stream] >= 0
            assert part.stream not in self.ended
            self.received[part.stream] += part.data
            if part.ends:
                self.ended.add(part.stream)

    @rule()
    def open(self) -> None:
        stream = 2 * len(self.rooms) + 1
        self.outbox.open(stream)
        self.rooms[stream] = self.initial
        self.sent[stream] = self.received[stream] = b""

    @precondition(lambda self: len(self.closed) < len(self.rooms))
    @rule(data=st.data(), size=st.integers(1, 100_000), byte=st.integers(0, 255), ends=st.booleans())
    def send(self, data: st.DataObject, size: int, byte: int, ends: bool) -> None:
        stream = data.draw(st.sampled_from(sorted(self.rooms.keys() - self.closed)))
        self.sent[stream] += bytes([byte]) * size
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
        """The room of a stream may be negative after this; then it may send nothing."""
        for stream in self.rooms:
            self.rooms[stream] += initial - self.initial
        self.initial = initial
        self.receive(self.outbox.resize(initial))

    @rule(size=st.integers(16_384, 2**24 - 1))
    def frames(self, size: int) -> None:
        self.outbox.frame_max = size

    @invariant()
    def permitted_bytes_were_sent(self) -> None:
        for stream, sent in self.sent.items():
            received = self.received[stream]
            assert sent.startswith(received)
            if self.granted > 0 and self.rooms[stream] > 0:
                assert received == sent
            assert (stream in self.ended) == (stream in self.closed and received == sent)


TestSending = Sending.TestCase


@given(st.binary(min_size=1, max_size=100))
def test_a_dropped_stream_sends_nothing_more(message: bytes) -> None:
    outbox = Outbox()
    outbox.open(1)
    outbox.resize(0)
    assert outbox.send(1, message) == []
    outbox.drop(1)
    assert outbox.grow(1, 1000) == outbox.resize(1000) == []
