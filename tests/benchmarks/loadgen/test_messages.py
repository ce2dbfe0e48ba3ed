"""The load generator's reading of messages, against protobuf's own."""

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.loadgen.messages import request, tokens_in
from seqserve.v1 import generation_pb2 as pb


@given(
    text=st.text(max_size=200),
    token_ids=st.lists(st.integers(0, 2**31 - 1), max_size=200),
    position=st.integers(0, 2**60),
    sample=st.integers(0, 63),
    logprobs=st.lists(st.integers(0, 20), max_size=3),
)
def test_tokens_of_a_piece_are_counted_as_protobuf_counts_them(
    text: str, token_ids: list[int], position: int, sample: int, logprobs: list[int]
) -> None:
    piece = pb.GenerationPiece(text=text, token_ids=token_ids, position=position, sample=sample)
    for _ in logprobs:
        piece.logprobs.add()
    assert tokens_in(pb.GenerateResponse(piece=piece).SerializeToString()) == len(token_ids)


def test_other_events_have_no_tokens() -> None:
    for event in (
        pb.GenerateResponse(),
        pb.GenerateResponse(started=pb.GenerationStarted(seed=1, prompt_tokens=16)),
        pb.GenerateResponse(finished=pb.GenerationFinished(generated_tokens=200)),
    ):
        assert tokens_in(event.SerializeToString()) == 0


def test_a_request_is_the_same_for_the_same_seed() -> None:
    assert request(1) == request(1) != request(2)
    message = pb.GenerateRequest.FromString(request(3, tokens=7, prompt_characters=2000))
    assert len(message.text) == 2000
    assert (message.stopping.max_tokens, message.sampling.seed, message.sampling.temperature) == (7, 3, 1.0)
