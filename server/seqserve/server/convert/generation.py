"""Generate: what a request asks, and the events that answer it."""

from __future__ import annotations

from seqserve.server.convert.fields import integer, number, refuse, servable_id, task_name, timing
from seqserve.server.detokenization import TextAssembler
from seqserve.server.errors import EmptyPromptError, InputTooLongError, InvalidFieldError, TaskMismatchError
from seqserve.server.inputs import token_inputs
from seqserve.server.randomness import draw_seed
from seqserve.server.repository import Model
from seqserve.server.sampling import Candidate, SamplingSpec, StepReport
from seqserve.server.sequence import GenerationRequest, StoppingSpec
from seqserve.server.settings import LimitSettings
from seqserve.server.stream import End, FinishReason, Gathered
from seqserve.server.tokenization import Tokenization, check_length
from seqserve.v1 import common_pb2 as common
from seqserve.v1 import generation_pb2 as pb
from seqserve.v1 import manifest_pb2
from seqserve.v1 import state_pb2 as state

_STOPS_MAX, _STOP_CHARACTERS_MAX, _STOP_TOKENS_MAX, _LOGPROBS_MAX = 16, 256, 64, 20
_TOKENS_DEFAULT = 16
_TOKENS_MAX = 1 << 20  # where the manifest names no limit

_REASONS = {
    FinishReason.LENGTH: pb.FINISH_REASON_LENGTH,
    FinishReason.STOP: pb.FINISH_REASON_STOP,
    FinishReason.EOS: pb.FINISH_REASON_EOS,
    FinishReason.DEADLINE: pb.FINISH_REASON_DEADLINE,
}


def generation_request(request: pb.GenerateRequest, model: Model, limits: LimitSettings) -> GenerationRequest:
    """Check a request and look its tokens up.

    Raises: TaskMismatchError if the model is no language model; EmptyPromptError, OutOfVocabularyError,
        InputTooLongError, InvalidFieldError; UnimplementedError for fields that this server does not know yet.
    """
    if model.tokenization is None or model.manifest.task != manifest_pb2.TASK_LANGUAGE_MODEL:
        raise TaskMismatchError(
            f"model {model.servable.id.model!r} is for {task_name(model)}, it cannot generate text; "
            "choose a language model"
        )
    refuse(request, ("state", "resume", "priority"), "")
    tokens = _prompt(request, model.tokenization, limits)
    check_length(len(tokens), model.manifest.limits.prompt_tokens_max, "tokens", "prompt")
    return GenerationRequest(
        token_inputs(tokens), _sampling(request, model.manifest), _stopping(request.stopping, model)
    )


def _prompt(request: pb.GenerateRequest, tokenization: Tokenization, limits: LimitSettings) -> list[int]:
    vocabulary = tokenization.vocabulary
    if request.WhichOneof("prompt") == "token_ids":
        tokens = list(request.token_ids.ids)
        tokenization.check_ids(tokens, "token_ids.ids")
    else:
        check_bytes(request.text, limits, "text")
        tokens = tokenization.encode_ids(request.text, "text")
    if vocabulary.HasField("start_token") and tokens[:1] != [vocabulary.start_token]:
        tokens = [vocabulary.start_token, *tokens]
    if not tokens:
        raise EmptyPromptError(
            "the prompt is empty and this model has no start token to begin with; send at least one token of text",
            field="prompt",
        )
    return tokens


def check_bytes(text: str, limits: LimitSettings, field: str) -> None:
    """Raise InputTooLongError if a text is over the limit in bytes."""
    if (size := len(text.encode("utf-8"))) > limits.text_bytes_max:
        raise InputTooLongError(
            f"{field} has {size} bytes, the server takes at most {limits.text_bytes_max}; cut it into several requests",
            field=field,
            metadata={"count": str(size), "limit": str(limits.text_bytes_max)},
        )


def _sampling(request: pb.GenerateRequest, manifest: manifest_pb2.Manifest) -> SamplingSpec:
    params, path = request.sampling, "sampling"
    later = ("repetition_penalty", "presence_penalty", "frequency_penalty", "logit_bias", "allowed_token_ids")
    refuse(params, (*later, "banned_token_ids", "n", "best_of", "beam_width", "length_penalty"), path)
    refuse(request.outputs, ("prompt_logprobs",), "outputs")
    default = manifest.generation.temperature if manifest.generation.HasField("temperature") else 1.0
    if params.HasField("top_p") and params.top_p == 0:
        raise InvalidFieldError("sampling.top_p is 0; it has to be in (0, 1]", field="sampling.top_p")
    logprobs = integer(request.outputs, "logprobs", -1, 0, _LOGPROBS_MAX, "outputs")
    return SamplingSpec(
        seed=params.seed if params.HasField("seed") else draw_seed(),
        temperature=number(params, "temperature", default, 0, 100, path),
        top_k=integer(params, "top_k", 0, 0, 1 << 31, path),
        top_p=number(params, "top_p", 1.0, 0, 1, path),
        min_p=number(params, "min_p", 0.0, 0, 1, path),
        logprobs=None if logprobs < 0 else logprobs,
    )


def _stopping(params: pb.StoppingParams, model: Model) -> StoppingSpec:
    refuse(params, ("min_tokens",), "stopping")
    manifest, vocabulary = model.manifest, model.manifest.vocabulary
    default = manifest.generation.max_tokens if manifest.generation.HasField("max_tokens") else _TOKENS_DEFAULT
    highest = manifest.limits.generate_tokens_max or _TOKENS_MAX
    for what, count, most in (
        ("stop", len(params.stop), _STOPS_MAX),
        ("stop_token_ids", len(params.stop_token_ids), _STOP_TOKENS_MAX),
    ):
        if count > most:
            raise InvalidFieldError(f"stopping.{what} has {count} entries, at most {most}", field=f"stopping.{what}")
    for index, stop in enumerate(params.stop):
        if not 1 <= len(stop) <= _STOP_CHARACTERS_MAX:
            raise InvalidFieldError(
                f"stopping.stop[{index}] has {len(stop)} characters; it has to have 1 to {_STOP_CHARACTERS_MAX}",
                field=f"stopping.stop[{index}]",
            )
    if model.tokenization is not None:
        model.tokenization.check_ids(params.stop_token_ids, "stopping.stop_token_ids")
    return StoppingSpec(
        max_tokens=integer(params, "max_tokens", min(default, highest), 1, highest, "stopping"),
        stop=tuple(params.stop),
        stop_tokens=frozenset(params.stop_token_ids),
        end_token=vocabulary.end_token if vocabulary.HasField("end_token") and not params.ignore_eos else None,
        include_stop=params.include_stop,
    )


def started(request: GenerationRequest, model: Model) -> pb.GenerateResponse:
    """The first event."""
    return pb.GenerateResponse(
        started=pb.GenerationStarted(
            servable=servable_id(model.servable.id),
            seed=request.sampling.seed,
            prompt_tokens=len(request.inputs),
            position=request.position + len(request.inputs),
        )
    )


class Answer:
    """Turns what has gathered into pieces, and the end into the last event."""

    def __init__(self, request: GenerationRequest, model: Model, *, with_ids: bool) -> None:
        """Args: with_ids: whether the pieces carry token ids."""
        self._model = model
        self._text = TextAssembler(model.table)
        self._with_ids = with_ids
        self._position = request.position + len(request.inputs)
        self._prompt_tokens = len(request.inputs)

    def piece(self, gathered: Gathered) -> pb.GenerateResponse:
        """The tokens that have gathered, and the text that may be told."""
        text = self._text.push(gathered.tokens, gathered.held_bytes)
        if gathered.end is not None:
            text += self._text.finish(gathered.end.dropped_bytes)
        position, self._position = self._position, self._position + len(gathered.tokens)
        return pb.GenerateResponse(
            piece=pb.GenerationPiece(
                text=text,
                token_ids=gathered.tokens if self._with_ids else (),
                logprobs=[self._step(report) for report in gathered.reports],
                position=position,
            )
        )

    def finished(self, end: End) -> pb.GenerateResponse:
        """The last event."""
        sample = pb.SampleFinished(
            reason=_REASONS[end.reason],
            matched_stop=end.matched_stop or "",
            matched_token=end.matched_token,
            tokens=end.tokens,
        )
        return pb.GenerateResponse(
            finished=pb.GenerationFinished(
                samples=[sample],
                prompt_tokens=self._prompt_tokens,
                generated_tokens=end.tokens,
                timing=timing(end.times),
                state=state.StateResult(position=end.position),
            )
        )

    def _step(self, report: StepReport) -> common.StepLogprobs:
        return common.StepLogprobs(chosen=self._token(report.chosen), top=[self._token(token) for token in report.top])

    def _token(self, candidate: Candidate) -> common.TokenLogprob:
        return common.TokenLogprob(
            token_id=candidate.token,
            token=self._model.table[candidate.token].decode("utf-8", "replace"),
            logprob=candidate.logprob,
            rank=candidate.rank,
        )
