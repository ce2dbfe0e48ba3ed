"""Character-level language models: truncated backpropagation through time over parallel streams of one text."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from seqserve.training import evaluate
from seqserve.training.checkpoint import Checkpoint
from seqserve.training.config import LanguageModelConfig
from seqserve.training.data.corpus import read_corpus
from seqserve.training.data.streams import IntArray, window_count, windows
from seqserve.training.data.text import read_text
from seqserve.training.distributed import WHOLE, Share
from seqserve.training.errors import DataError
from seqserve.training.export import language_model as export
from seqserve.training.export.model import network_record, state_specs
from seqserve.training.generate import Sampling, generate
from seqserve.training.layers import State
from seqserve.training.networks import LanguageModel, parameter_count
from seqserve.training.record import data_source
from seqserve.training.runner import Runner
from seqserve.training.tasks.task import Exportable, Task
from seqserve.training.tensors import long_tensor, tensor
from seqserve.training.tokenizer import UNKNOWN, character_tokenizer, first_unknown, text_ids
from seqserve.v1 import manifest_pb2

VALIDATION_STREAMS = 32
"""Streams of the validations between epochs; the final figures come from one stream."""
PROMPT_TOKENS_MAX = 100_000
GENERATE_TOKENS_MAX = 100_000
DEFAULT_TOKENS = 400
SAMPLE_TEMPERATURES = (0.0, 0.7, 1.0)
SAMPLE_PROMPT_TOKENS = 40
SAMPLE_TOKENS = 300


class LanguageModelLearner:
    """A language model and the text that it learns."""

    labels: tuple[str, ...] = ()

    def __init__(self, config: LanguageModelConfig) -> None:
        """Read the text, split it and number its characters; make the network.

        Raises: DataError if a file cannot be used, or the text is too short for the batch and the window.
        """
        self._config = config
        corpus = read_corpus(config)
        _refuse_too_little(config, len(corpus.train), len(corpus.validation))
        self._parts = corpus.parts
        self.tokenizer = character_tokenizer(corpus.train, unknown_token=config.unknown_token)
        self._train_ids = text_ids(self.tokenizer, corpus.train)
        self._validation_ids = _known_ids(self.tokenizer, corpus.validation, (config.validation or config.data)[-1])
        self.network = LanguageModel(config, self.tokenizer.get_vocab_size())
        self.steps_per_epoch = window_count(len(corpus.train), streams=config.batch_size, steps=config.window)
        self._state: State = ()

    @property
    def sources(self) -> list[manifest_pb2.DataSource]:
        """The texts; one that was split stands for both parts."""
        return [data_source(self._config, part.path, part.split, part.characters) for part in self._parts]

    def losses(self, epoch: int, first: int = 0, share: Share = WHOLE) -> Iterator[tuple[Tensor, int]]:
        """One pass over the text: the state is carried from window to window, gradients stop at the border."""
        del epoch  # every pass reads the text in the same order
        device = self.network.head.weight.device
        plan = windows(self._train_ids, streams=self._config.batch_size, steps=self._config.window)
        for index, window in enumerate(islice(plan, first, None), start=first):
            inputs_TB, targets_TB = window.inputs[:, share.rows], window.targets[:, share.rows]
            state = self._starting_state(index, inputs_TB.shape[1])
            logits_TBV, state = self.network(tensor(inputs_TB, device), None, state)
            self._state = tuple(each.detach() for each in state)
            targets = long_tensor(targets_TB, device).flatten()
            yield nn.functional.cross_entropy(logits_TBV.flatten(0, 1), targets), targets.numel()

    def _starting_state(self, index: int, streams: int) -> State:
        """The state at the start of window ``index`` (from 0): that at the end of the one before, for most streams.

        A model that only ever went on from a long past writes nonsense after a short prompt, so now and then a stream
        starts from the initial state.
        """
        initial = self.network.stack.initial_state(streams)
        if index == 0:
            return initial
        goes_on_B1 = (torch.rand(streams, 1) >= self._config.state_reset).to(initial[0].device)
        return tuple(torch.where(goes_on_B1, old, new) for old, new in zip(self._state, initial, strict=True))

    def state_dict(self) -> dict[str, Any]:
        """The states that the streams are in."""
        return {"state": list(self._state)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from the states that ``state_dict`` gave."""
        device = self.network.head.weight.device
        self._state = tuple(each.to(device) for each in state["state"])

    def validate(self) -> dict[str, float]:
        """Figures over the validation text in streams side by side."""
        return self._evaluated(min(VALIDATION_STREAMS, len(self._validation_ids) - 1))

    def final_metrics(self) -> dict[str, float]:
        """Figures over the validation text as one stream."""
        return self._evaluated(1)

    def samples(self) -> str:
        """How the beginning of the validation text goes on, at several temperatures."""
        prompt = self._validation_ids[:SAMPLE_PROMPT_TOKENS].tolist()
        parts = [f"Prompt:\n\n```\n{self.tokenizer.decode(prompt)}\n```"]
        for temperature in SAMPLE_TEMPERATURES:
            sampling = Sampling(temperature=temperature)
            drawn = generate(self.network, prompt, sampling=sampling, seed=self._config.seed, tokens_max=SAMPLE_TOKENS)
            parts.append(f"Temperature {temperature}:\n\n```\n{self.tokenizer.decode(drawn)}\n```")
        return "\n\n".join(parts)

    def _evaluated(self, streams: int) -> dict[str, float]:
        run = export.TorchLanguageModel(self.network)
        return evaluate.language_model(run, state_specs(self.network.stack), self._validation_ids, streams=streams)


def _known_ids(tokenizer: Tokenizer, text: str, path: Path) -> IntArray:
    """Ids of a text that the tokenizer was not made of."""
    if (offset := first_unknown(tokenizer, text)) is not None:
        raise DataError(
            path,
            f"the character {text[offset]!r} (offset {offset} of the text) does not occur in the training"
            " text; train with --unknown-token, or leave it out",
        )
    return text_ids(tokenizer, text)


def _refuse_too_little(config: LanguageModelConfig, train: int, validation: int) -> None:
    """Refuse a text that does not fill one window of every stream, or leaves nothing to validate on."""
    needed = config.batch_size * config.window + 1
    if train < needed:
        raise DataError(
            config.data[0],
            f"{train} characters to train on are less than one batch: --batch-size {config.batch_size} times --window"
            f" {config.window} needs {needed}",
        )
    if validation < 2:
        raise DataError((config.validation or config.data)[0], f"{validation} characters to validate on: 2 are needed")


def exportable(checkpoint: Checkpoint) -> Exportable:
    """The graph of a language model, and what the manifest says of it."""
    config = LanguageModelConfig.model_validate_json(checkpoint.config)
    tokenizer = Tokenizer.from_str(checkpoint.tokenizer)
    network = LanguageModel(config, tokenizer.get_vocab_size())
    network.load_state_dict(checkpoint.weights)
    model = export.exported(network)
    manifest = manifest_pb2.Manifest(
        task=manifest_pb2.TASK_LANGUAGE_MODEL,
        network=network_record(network.stack, parameter_count(network), {"dropout": str(config.dropout)}),
        vocabulary=manifest_pb2.Vocabulary(
            level=manifest_pb2.TOKEN_LEVEL_CHARACTER,
            size=tokenizer.get_vocab_size(),
            unknown_token=tokenizer.token_to_id(UNKNOWN),
        ),
        limits=manifest_pb2.Limits(prompt_tokens_max=PROMPT_TOKENS_MAX, generate_tokens_max=GENERATE_TOKENS_MAX),
        generation=manifest_pb2.GenerationDefaults(max_tokens=DEFAULT_TOKENS),
    )
    return Exportable(model, export.TorchLanguageModel(network), manifest)


def judge(
    run: Runner,
    manifest: manifest_pb2.Manifest,
    tokenizer: Tokenizer,
    data: Sequence[Path],
) -> dict[str, float]:
    """Figures of a language model on texts, read as one stream."""
    text = "".join(read_text(path) for path in data)
    ids = _known_ids(tokenizer, text, data[0])
    if len(ids) < 2:
        raise DataError(data[0], f"{len(ids)} characters: 2 are needed to predict one")
    return evaluate.language_model(run, manifest.states, ids)


LANGUAGE_MODEL = Task(
    name="lm",
    summary="train a character-level language model on texts",
    config=LanguageModelConfig,
    learner=LanguageModelLearner,
    exportable=exportable,
    evaluate=judge,
)
