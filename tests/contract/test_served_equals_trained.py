"""What the server answers over gRPC is what the trained network gives in this process, in torch.

The logits of torch and ONNX Runtime differ by some 1e-7, so a token differs where u falls into a gap of that width: of
the seeds here none does.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc.aio
import pytest
import torch

from seqserve.server.testing import running_server
from seqserve.training.data.sequences import batch_of, sequence_data
from seqserve.training.evaluation.generate import Sampling, generate
from seqserve.training.tasks.sequences import spellings
from seqserve.training.tensors import CPU, long_tensor, tensor
from seqserve.training.tokenizers.sequences import word_spans
from seqserve.v1 import common_pb2 as common
from seqserve.v1 import generation_pb2 as pb
from seqserve.v1 import tagging_pb2
from seqserve.v1.generation_pb2_grpc import GenerationServiceStub
from seqserve.v1.tagging_pb2_grpc import TaggingServiceStub
from tests.calls import collect
from tests.conftest import MadeRepository
from tests.servables import LABELS

TOKENS = 60
PROMPTS = ("a", "the cat sat on the mat, ", "国😀\n" + "xyz " * 60)
SAMPLINGS = {
    "greedy": Sampling(temperature=0),
    "plain": Sampling(),
    "cold": Sampling(temperature=0.3),
    "hot": Sampling(temperature=2.5),
    "top_k": Sampling(top_k=5),
    "top_p": Sampling(top_p=0.8),
    "min_p": Sampling(min_p=0.1),
    "all": Sampling(temperature=1.3, top_k=12, top_p=0.9, min_p=0.02),
}


@pytest.fixture
async def channel(made: MadeRepository) -> AsyncIterator[grpc.aio.Channel]:
    async with running_server(made.root) as address, grpc.aio.insecure_channel(address) as channel:
        yield channel


@pytest.mark.parametrize("sampling", SAMPLINGS.values(), ids=SAMPLINGS)
@pytest.mark.parametrize("model", ["lstm", "gru"])
async def test_served_text_is_the_text_of_torch(
    channel: grpc.aio.Channel, made: MadeRepository, model: str, sampling: Sampling
) -> None:
    trained = made.lstm if model == "lstm" else made.gru
    stub = GenerationServiceStub(channel)
    requested = [(prompt, seed) for prompt in PROMPTS for seed in (0, 7, 2**64 - 1)]
    calls = [  # all at once: they share batches, and each is alone in torch
        stub.Generate(
            pb.GenerateRequest(
                model=common.ModelRef(name=model),
                text=prompt,
                sampling=pb.SamplingParams(
                    temperature=sampling.temperature,
                    top_k=sampling.top_k,
                    top_p=sampling.top_p,
                    min_p=sampling.min_p,
                    seed=seed,
                ),
                stopping=pb.StoppingParams(max_tokens=TOKENS),
            )
        )
        for prompt, seed in requested
    ]
    for (prompt, seed), call in zip(requested, calls, strict=True):
        ids = trained.tokenizer.encode(prompt).ids
        drawn = generate(trained.network, ids, sampling=sampling, seed=seed, tokens_max=TOKENS)
        served = await collect(call)
        assert served.ids == drawn, f"prompt {prompt!r}, seed {seed}"
        assert served.text == trained.tokenizer.decode(drawn)


async def test_served_tags_are_the_tags_of_torch(channel: grpc.aio.Channel, made: MadeRepository) -> None:
    texts = ["The cat sat on the mat.", "a", "国 naïve unprecedentedly-long-words, 2026!", "Dog " * 50]
    answer = await TaggingServiceStub(channel).Tag(
        tagging_pb2.TagRequest(
            model=common.ModelRef(name="tagger"), inputs=[tagging_pb2.TagInput(text=text) for text in texts]
        )
    )
    tokenizer, network = made.tagger.tokenizer, made.tagger.network.eval()
    cut = [[text[start:end] for start, end in word_spans(tokenizer, text)] for text in texts]
    batch = batch_of(sequence_data(cut, tokenizer, word_bytes_max=9), range(len(cut)))
    with torch.inference_mode():
        state = network.stack.initial_state(len(cut))
        scores, _ = network(tensor(batch.tokens), long_tensor(batch.lengths), spellings(batch, CPU), state)
    for column, (words, sequence) in enumerate(zip(cut, answer.sequences, strict=True)):
        probabilities = torch.softmax(scores[: len(words), column], dim=1)
        assert [tag.token for tag in sequence.tags] == words
        assert [tag.label for tag in sequence.tags] == [LABELS[index] for index in probabilities.argmax(dim=1)]
        expected = probabilities.max(dim=1).values.tolist()
        assert [tag.score for tag in sequence.tags] == pytest.approx(expected, abs=1e-5)
