"""Random valid requests for every method of the contract."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from google.protobuf.message import Message

from seqserve.v1 import classification_pb2 as classification
from seqserve.v1 import common_pb2 as common
from seqserve.v1 import generation_pb2 as generation
from seqserve.v1 import infilling_pb2 as infilling
from seqserve.v1 import model_pb2, session_pb2, state_pb2
from seqserve.v1 import tagging_pb2 as tagging
from tests.soak import models

WORDS = ("the", "a", "cat", "dog", "sat", "on", "mat", ".", ",", "0", "naïve", "国", "unknown", "😀", "The")
SESSIONS = 24  # session ids in use at a time, for each model
_UNITS = (common.OFFSET_UNIT_UNSPECIFIED, common.OFFSET_UNIT_CHARACTER, common.OFFSET_UNIT_BYTE)
_RULES = (
    tagging.SENTENCE_RULE_UNSPECIFIED,
    tagging.SENTENCE_RULE_CLIENT,
    tagging.SENTENCE_RULE_NEWLINE,
    tagging.SENTENCE_RULE_PUNCTUATION,
)
IDS_MAX = 12  # token ids below this exist in every vocabulary


class RequestSource:
    """Draws requests, each a conversation: the serialized messages of one call.

    Most sessions that a request names exist, or the request creates them; the others answer SESSION_NOT_FOUND, and so
    on: a valid request may be refused for the state of the server, with a reason.
    """

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._snapshots: list[bytes] = []
        self._makers: dict[str, Callable[[], Sequence[Message]]] = {
            "Generate": self._generate,
            "Score": self._score,
            "StreamScore": self._stream_score,
            "Tag": self._tag,
            "StreamTag": self._stream_tag,
            "Classify": self._classify,
            "StreamClassify": self._stream_classify,
            "FillIn": self._fill_in,
            "ListModels": lambda: [model_pb2.ListModelsRequest(page_size=self._random.randint(1, 9))],
            "GetModel": lambda: [model_pb2.GetModelRequest(model=self._any_model())],
            "LoadModel": lambda: [model_pb2.LoadModelRequest(model=common.ModelRef(name=models.SPARE))],
            "UnloadModel": lambda: [model_pb2.UnloadModelRequest(model=common.ModelRef(name=models.SPARE, version=1))],
            "CreateSession": self._create_session,
            "GetSession": lambda: [session_pb2.GetSessionRequest(session_id=self._session_id(models.LM))],
            "ListSessions": lambda: [session_pb2.ListSessionsRequest(page_size=self._random.randint(1, 50))],
            "TouchSession": lambda: [session_pb2.TouchSessionRequest(session_id=self._session_id(models.LM))],
            "ForkSession": self._fork_session,
            "RewindSession": self._rewind_session,
            "ExportSession": lambda: [session_pb2.ExportSessionRequest(session_id=self._session_id(models.LM))],
            "ImportSession": self._import_session,
            "DeleteSession": lambda: [session_pb2.DeleteSessionRequest(session_id=self._session_id(models.LM))],
        }
        self.methods = tuple(self._makers)

    def draw(self, name: str | None = None) -> tuple[str, list[bytes]]:
        """Draws a method, or takes ``name``. Returns the method and the messages of one call."""
        name = name or self._random.choice(self.methods)
        if name == "ImportSession" and not self._snapshots:
            name = "ExportSession"
        return name, [message.SerializeToString() for message in self._makers[name]()]

    def take_response(self, name: str, response: bytes) -> None:
        """Takes a response; a snapshot in it is kept for imports and for states of requests."""
        if name != "ExportSession":
            return
        if snapshot := session_pb2.ExportSessionResponse.FromString(response).snapshot:
            self._snapshots = [*self._snapshots[-15:], snapshot]

    def _chance(self, share: float) -> bool:
        return self._random.random() < share

    def _text(self, length_max: int = 60) -> str:
        return "".join(self._random.choices(models.ALPHABET, k=self._random.randint(1, length_max)))

    def _words(self, count_max: int = 30) -> list[str]:
        return self._random.choices(WORDS, k=self._random.randint(1, count_max))

    def _ids(self, count_max: int = 40) -> common.TokenIds:
        count = self._random.randint(1, count_max)
        return common.TokenIds(ids=[self._random.randrange(IDS_MAX) for _ in range(count)])

    def _any_model(self) -> common.ModelRef:
        names = (models.LM, models.TAGGER, models.NAMES, models.CLASSIFIER, models.INFILLER)
        return common.ModelRef(name=self._random.choice(names))

    def _session_id(self, model: str) -> str:
        return f"{model}-{self._random.randrange(SESSIONS)}"

    def _state(self, model: str, *, snapshots: bool) -> state_pb2.StateOptions | None:
        """Draws where a state comes from and goes; None for no state."""
        draw = self._random.random()
        if draw < 0.5:
            return None
        if draw < 0.6 and snapshots:
            options = state_pb2.StateOptions(destination=state_pb2.STATE_DESTINATION_SNAPSHOT)
            if self._snapshots and model == models.LM and self._chance(0.5):
                options.snapshot = self._random.choice(self._snapshots)
            return options
        options = state_pb2.StateOptions(session_id=self._session_id(model), create_if_absent=self._chance(0.9))
        options.busy_policy = self._random.choice((state_pb2.BUSY_POLICY_REFUSE, state_pb2.BUSY_POLICY_WAIT))
        if self._chance(0.2):
            options.checkpoint = f"c{self._random.randrange(3)}"
        elif self._chance(0.1):
            options.destination = state_pb2.STATE_DESTINATION_DISCARD
        if self._chance(0.2):
            options.ttl.FromSeconds(self._random.randint(1, 600))
        return options

    def _generate(self) -> list[Message]:
        request = generation.GenerateRequest(model=common.ModelRef(name=models.LM))
        if self._chance(0.8):
            request.text = self._text()
        else:
            request.token_ids.CopyFrom(self._ids())
        request.stopping.max_tokens = self._random.randint(1, 40)
        sampling = request.sampling
        sampling.seed = self._random.getrandbits(63)
        if self._chance(0.1):
            sampling.ClearField("seed")
            sampling.beam_width = self._random.randint(2, 4)
            sampling.n = self._random.randint(1, sampling.beam_width)
            if self._chance(0.5):
                sampling.length_penalty = self._random.uniform(0, 2)
            return [request]
        self._draw_sampling(sampling)
        if self._chance(0.3):
            request.outputs.logprobs = self._random.randint(0, 20)
        if self._chance(0.2):
            request.outputs.prompt_logprobs = self._random.randint(0, 20)
        request.outputs.omit_token_ids = self._chance(0.2)
        if self._chance(0.3):
            request.stopping.stop.extend(self._text(4) for _ in range(self._random.randint(1, 16)))
        if self._chance(0.2):
            request.stopping.min_tokens = self._random.randint(0, request.stopping.max_tokens)
        request.stopping.include_stop = self._chance(0.3)
        request.priority = self._random.randint(-100, 100)
        state = self._state(models.LM, snapshots=True)
        if self._chance(0.2) and state is None:
            sampling.n = self._random.randint(1, 4)
            if self._chance(0.3):
                sampling.best_of = self._random.randint(sampling.n, 4)
        if state is not None:
            request.state.CopyFrom(state)
            if self._chance(0.5):
                request.request_id = f"r{self._random.getrandbits(40):x}"
        return [request]

    def _draw_sampling(self, sampling: generation.SamplingParams) -> None:
        ranges: dict[str, Callable[[], Any]] = {
            "temperature": lambda: self._random.choice((0.0, 0.3, 1.0, 5.0)),
            "top_k": lambda: self._random.randint(0, 40),
            "top_p": lambda: self._random.uniform(0.01, 1),
            "min_p": self._random.random,
            "repetition_penalty": lambda: self._random.uniform(0.1, 2),
            "presence_penalty": lambda: self._random.uniform(-2, 2),
            "frequency_penalty": lambda: self._random.uniform(-2, 2),
        }
        for name, draw in ranges.items():
            if self._chance(0.3):
                setattr(sampling, name, draw())
        if self._chance(0.1):
            sampling.logit_bias[self._random.randrange(IDS_MAX)] = self._random.uniform(-100, 100)
        if self._chance(0.1):
            sampling.banned_token_ids.append(self._random.randrange(IDS_MAX))

    def _score(self) -> list[Message]:
        request = generation.ScoreRequest(model=common.ModelRef(name=models.LM))
        state = self._state(models.LM, snapshots=True)
        for _ in range(1 if state is not None else self._random.randint(1, 8)):
            if self._chance(0.8):
                request.inputs.add(text=self._text(200))
            else:
                request.inputs.add(token_ids=self._ids())
        if self._chance(0.5):
            request.logprobs = self._random.randint(0, 20)
        if state is not None:
            request.state.CopyFrom(state)
        return [request]

    def _stream_score(self) -> list[Message]:
        config = generation.StreamScoreConfig(model=common.ModelRef(name=models.LM))
        config.top_logprobs = self._random.randint(0, 20)
        if state := self._state(models.LM, snapshots=True):
            config.state.CopyFrom(state)
        messages: list[Message] = [generation.StreamScoreRequest(config=config)]
        as_text = self._chance(0.7)
        for _ in range(self._random.randint(0, 8)):
            if self._chance(0.2):
                messages.append(generation.StreamScoreRequest(flush=common.Flush()))
            elif as_text:
                messages.append(generation.StreamScoreRequest(text=self._text(30)))
            else:
                messages.append(generation.StreamScoreRequest(token_ids=self._ids(10)))
        return self._ended(messages, generation.StreamScoreRequest(end=common.EndOfInput()))

    def _ended(self, messages: list[Message], end: Message) -> list[Message]:
        """A stream ends with a message or with the half-close."""
        return [*messages, end] if self._chance(0.8) else messages

    def _tag_outputs(self, outputs: tagging.TagOutputs, *, spans: bool) -> None:
        outputs.top_labels = self._random.randint(0, 5)
        outputs.offset_unit = self._random.choice(_UNITS)
        outputs.spans = spans and self._chance(0.5)

    def _tag(self) -> list[Message]:
        name = self._random.choice((models.TAGGER, models.LIVE_TAGGER, models.NAMES))
        request = tagging.TagRequest(model=common.ModelRef(name=name))
        self._tag_outputs(request.outputs, spans=name == models.NAMES)
        for _ in range(self._random.randint(1, 8)):
            if self._chance(0.6):
                request.inputs.add(text=" ".join(self._words()))
            else:
                request.inputs.add(words=common.Words(words=self._words()))
        return [request]

    def _stream_tag(self) -> list[Message]:
        name = self._random.choice((models.TAGGER, models.LIVE_TAGGER, models.NAMES))
        config = tagging.StreamTagConfig(model=common.ModelRef(name=name))
        self._tag_outputs(config.outputs, spans=name == models.NAMES)
        config.sentence_rule = self._random.choice(_RULES)
        if name == models.TAGGER and self._chance(0.7):
            config.finality = tagging.TAG_FINALITY_LOOKAHEAD
            config.lookahead = self._random.randint(0, 4)
        config.provisional = name == models.TAGGER and self._chance(0.3)
        if name == models.NAMES and self._chance(0.5):
            config.decision_lag_max = self._random.randint(0, 4)
        if name != models.TAGGER and (state := self._state(name, snapshots=False)):
            config.state.CopyFrom(state)
        messages: list[Message] = [tagging.StreamTagRequest(config=config)]
        as_words = self._chance(0.5)
        for _ in range(self._random.randint(0, 8)):
            draw = self._random.random()
            if draw < 0.7:
                words = self._words(6)
                piece = {"words": common.Words(words=words)} if as_words else {"text": " ".join(words) + " "}
                messages.append(tagging.StreamTagRequest(**piece))
            elif draw < 0.85:
                messages.append(tagging.StreamTagRequest(flush=common.Flush()))
            elif config.sentence_rule in (tagging.SENTENCE_RULE_UNSPECIFIED, tagging.SENTENCE_RULE_CLIENT):
                messages.append(tagging.StreamTagRequest(sentence_end=tagging.SentenceEnd()))
        return self._ended(messages, tagging.StreamTagRequest(end=common.EndOfInput()))

    def _classify(self) -> list[Message]:
        name = self._random.choice((models.CLASSIFIER, models.LIVE_CLASSIFIER))
        request = classification.ClassifyRequest(model=common.ModelRef(name=name))
        for _ in range(self._random.randint(1, 8)):
            if self._chance(0.6):
                request.inputs.add(text=" ".join(self._words()))
            else:
                request.inputs.add(words=common.Words(words=self._words()))
        if self._chance(0.5):
            request.top_labels = self._random.randint(1, 100)
        return [request]

    def _stream_classify(self) -> list[Message]:
        config = classification.StreamClassifyConfig(model=common.ModelRef(name=models.LIVE_CLASSIFIER))
        if state := self._state(models.LIVE_CLASSIFIER, snapshots=False):
            config.state.CopyFrom(state)
        messages: list[Message] = [classification.StreamClassifyRequest(config=config)]
        messages += [
            classification.StreamClassifyRequest(words=common.Words(words=self._words(6)))
            for _ in range(self._random.randint(1, 8))
        ]
        return self._ended(messages, classification.StreamClassifyRequest(end=common.EndOfInput()))

    def _fill_in(self) -> list[Message]:
        request = infilling.FillInRequest(model=common.ModelRef(name=models.INFILLER))
        for _ in range(self._random.randint(1, 8)):
            words = self._words(20)
            words.insert(self._random.randint(0, len(words)), "___")
            if self._chance(0.6):
                request.inputs.add(text=" ".join(words))
            else:
                request.inputs.add(words=common.Words(words=words))
        if self._chance(0.5):
            request.top_k = self._random.randint(1, 100)
        request.offset_unit = self._random.choice(_UNITS)
        return [request]

    def _create_session(self) -> list[Message]:
        name = self._random.choice((models.LM, models.NAMES, models.LIVE_CLASSIFIER))
        request = session_pb2.CreateSessionRequest(model=common.ModelRef(name=name))
        request.session_id = self._session_id(name)
        request.keep_tokens = name == models.LM and self._chance(0.3)
        request.ttl.FromSeconds(self._random.randint(1, 600))
        return [request]

    def _fork_session(self) -> list[Message]:
        request = session_pb2.ForkSessionRequest(session_id=self._session_id(models.LM))
        request.new_session_id = self._session_id(models.LM)
        if self._chance(0.3):
            request.checkpoint = f"c{self._random.randrange(3)}"
        return [request]

    def _rewind_session(self) -> list[Message]:
        name = f"c{self._random.randrange(3)}"
        return [session_pb2.RewindSessionRequest(session_id=self._session_id(models.LM), checkpoint=name)]

    def _import_session(self) -> list[Message]:
        request = session_pb2.ImportSessionRequest(snapshot=self._random.choice(self._snapshots))
        request.session_id = self._session_id(models.LM)
        return [request]
