"""Models of characters, bytes, words and byte pairs, from the command that trains them to a caller's text."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import grpc.aio
import pytest
import torch
from tokenizers import Tokenizer

from seqserve.server.testing import running_server
from seqserve.training.cli.main import main
from seqserve.training.config import LanguageModelConfig
from seqserve.training.config.language_model import TextLevel
from seqserve.training.evaluation.generate import Sampling, generate
from seqserve.training.networks import LanguageModel
from seqserve.training.trainer import checkpoint as checkpoints
from seqserve.v1 import common_pb2 as common
from seqserve.v1 import generation_pb2 as pb
from seqserve.v1 import manifest_pb2, model_pb2
from seqserve.v1.generation_pb2_grpc import GenerationServiceStub
from seqserve.v1.model_pb2_grpc import ModelServiceStub
from tests.calls import collect

TEXT = "国家是人民的国家。人民是国家的人民。The people, isn't it?"
LEVELS = {
    TextLevel.CHARACTER: manifest_pb2.TOKEN_LEVEL_CHARACTER,
    TextLevel.BYTE: manifest_pb2.TOKEN_LEVEL_BYTE,
    TextLevel.WORD: manifest_pb2.TOKEN_LEVEL_WORD,
    TextLevel.BPE: manifest_pb2.TOKEN_LEVEL_SUBWORD,
}
SETTINGS = [
    *("--vocabulary-max", "300", "--lowercase", "--document-separator", "\n", "--start-token", "--end-token"),
    *("--hidden-size", "32", "--embedding-size", "16", "--dropout", "0", "--batch-size", "2", "--window", "32"),
    *("--epochs", "15", "--learning-rate", "0.01", "--threads", "1"),
]
TOKENS = 120


@dataclass(frozen=True)
class Trained:
    """A network in torch, and its tokenizer."""

    network: LanguageModel
    tokenizer: Tokenizer

    def ids(self, text: str) -> list[int]:
        """The start token and those of a text, as a server reads it."""
        return [self.tokenizer.get_vocab()["<s>"], *self.tokenizer.encode(text).ids]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[TextLevel, Trained]]:
    folder = tmp_path_factory.mktemp("levels")
    (folder / "text.txt").write_text(f"{TEXT}\n" * 30, encoding="utf-8")
    models = {}
    for level in TextLevel:
        run, out = folder / level, folder / "models" / level
        places = ["--data", str(folder / "text.txt"), "--run", str(run), "--out", str(out)]
        assert main(["lm", *places, "--level", level, *SETTINGS]) == 0
        checkpoint = checkpoints.load(run / "best.pt")
        tokenizer = Tokenizer.from_str(checkpoint.tokenizer)
        network = LanguageModel(LanguageModelConfig.model_validate_json(checkpoint.config), tokenizer.get_vocab_size())
        network.load_state_dict(checkpoint.weights)
        models[level] = Trained(network, tokenizer)
    return folder / "models", models


@pytest.fixture
async def channel(trained: tuple[Path, dict[TextLevel, Trained]]) -> AsyncIterator[grpc.aio.Channel]:
    async with running_server(trained[0]) as address, grpc.aio.insecure_channel(address) as channel:
        yield channel


@pytest.mark.parametrize("level", list(TextLevel))
async def test_text_goes_in_and_comes_out_whole(
    channel: grpc.aio.Channel, trained: tuple[Path, dict[TextLevel, Trained]], level: TextLevel
) -> None:
    model = trained[1][level]
    for prompt, temperature, seed in (("国家是人民的国家。", 0.0, 0), ("The people", 0.7, 5)):
        call = GenerationServiceStub(channel).Generate(
            pb.GenerateRequest(
                model=common.ModelRef(name=level),
                text=prompt,
                sampling=pb.SamplingParams(temperature=temperature, seed=seed),
                stopping=pb.StoppingParams(max_tokens=TOKENS),
            )
        )
        served = await collect(call)
        drawn = generate(model.network, model.ids(prompt), sampling=Sampling(temperature), seed=seed, tokens_max=TOKENS)
        end = model.tokenizer.token_to_id("</s>")
        expected = drawn[: drawn.index(end)] if end in drawn else drawn
        assert served.ids == expected + [end] * (end in drawn)
        assert served.text == model.tokenizer.decode(expected)
        if temperature == 0:
            assert served.end.reason == pb.FINISH_REASON_EOS
            assert (prompt + served.text).endswith(" isn't it?")  # whole UTF-8 as it was learned, and its end
            assert all("\ufffd" not in piece.text for piece in served.pieces)


@pytest.mark.parametrize("level", list(TextLevel))
async def test_the_score_of_a_text_counts_every_token_of_it(
    channel: grpc.aio.Channel, trained: tuple[Path, dict[TextLevel, Trained]], level: TextLevel
) -> None:
    model, text = trained[1][level], "人民是国家的 People, unheard of in 国!"
    if level is TextLevel.CHARACTER:
        text = "人民是国家的, the people?"
    answer = await GenerationServiceStub(channel).Score(
        pb.ScoreRequest(model=common.ModelRef(name=level), inputs=[pb.ScoreInput(text=text)])
    )
    ids = torch.tensor(model.ids(text))
    with torch.inference_mode():
        logits, _ = model.network(ids[:-1, None], None, model.network.stack.initial_state(1))
        expected = torch.log_softmax(logits[:, 0].double(), dim=-1).gather(1, ids[1:, None]).sum()
    (score,) = answer.scores
    assert score.logprob == pytest.approx(float(expected), rel=1e-5)
    assert math.isfinite(score.logprob)


@pytest.mark.parametrize("level", list(TextLevel))
async def test_the_manifest_says_what_a_token_is(
    channel: grpc.aio.Channel, trained: tuple[Path, dict[TextLevel, Trained]], level: TextLevel
) -> None:
    found = await ModelServiceStub(channel).GetModel(model_pb2.GetModelRequest(model=common.ModelRef(name=level)))
    vocabulary = found.manifest.vocabulary
    tokenizer = trained[1][level].tokenizer
    assert vocabulary.level == LEVELS[level]
    assert vocabulary.size == tokenizer.get_vocab_size()
    assert (vocabulary.start_token, vocabulary.end_token) == tuple(map(tokenizer.token_to_id, ("<s>", "</s>")))
    assert vocabulary.HasField("unknown_token") == (level is TextLevel.WORD)
