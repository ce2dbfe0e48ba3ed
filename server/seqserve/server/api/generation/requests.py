"""Validates the requests of Generate and Score."""

from __future__ import annotations

from collections.abc import Mapping

from seqserve.server.api.fields import check_bytes, check_inputs, integer, number, refuse, task_name
from seqserve.server.api.generation import resume
from seqserve.server.decoding.sampling import SamplingSpec
from seqserve.server.engine.requests import BeamSpec, GenerationRequest, OutputSpec, ScoringRequest, StoppingSpec
from seqserve.server.errors import EmptyPromptError, InvalidFieldError, TaskMismatchError
from seqserve.server.model.inputs import token_inputs
from seqserve.server.model.sequence_state import SequenceState
from seqserve.server.repository import Model
from seqserve.server.sessions import Destination, StateSpec
from seqserve.server.settings import LimitSettings
from seqserve.server.text.tokenization import Tokenization, check_length
from seqserve.v1 import generation_pb2 as pb
from seqserve.v1 import manifest_pb2

_STOPS_MAX, _STOP_CHARACTERS_MAX, _STOP_TOKENS_MAX, _BIASES_MAX = 16, 256, 64, 1024
LOGPROBS_MAX, _PRIORITY_MAX = 20, 100
_TOKENS_DEFAULT = 16
_TOKENS_MAX = 1 << 20  # where the manifest names no limit


def language_model(model: Model) -> Tokenization:
    """Returns the model's tokenization. Raises: TaskMismatchError if it is not a language model."""
    if model.tokenization is None or model.manifest.task != manifest_pb2.TASK_LANGUAGE_MODEL:
        raise TaskMismatchError(
            f"model {model.servable.id.model!r} is for {task_name(model)}, it cannot generate or score text; "
            "choose a language model"
        )
    return model.tokenization


def generation_request(
    request: pb.GenerateRequest, model: Model, limits: LimitSettings, start: SequenceState, spec: StateSpec | None
) -> GenerationRequest:
    """Validates a request that continues a state, and tokenizes its prompt.

    Raises: TaskMismatchError if the model is no language model; EmptyPromptError, OutOfVocabularyError,
        InputTooLongError, InvalidFieldError; UnimplementedError for fields that this server does not know yet.
    """
    tokenization = language_model(model)
    if abs(request.priority) > _PRIORITY_MAX:
        raise InvalidFieldError(
            f"priority must be in [-{_PRIORITY_MAX}, {_PRIORITY_MAX}], got {request.priority}", field="priority"
        )
    tokens = _tokens(request, tokenization, limits, start, model.manifest.limits.prompt_tokens_max)
    if not tokens and start.last_token is None:
        raise EmptyPromptError(
            "the prompt is empty and this model has no start token to begin with; send at least one token of text",
            field="prompt",
        )
    check_length(len(tokens), model.manifest.limits.prompt_tokens_max, "tokens", "prompt")
    stopping = _stopping(request.stopping, model.manifest, tokenization)
    samples = integer(request.sampling, "n", 1, 1, limits.samples_max, "sampling")
    beams = _beams(request, model.manifest, limits, samples)
    prompt_logprobs = integer(request.outputs, "prompt_logprobs", -1, 0, LOGPROBS_MAX, "outputs")
    best_of = integer(request.sampling, "best_of", samples, samples, limits.samples_max, "sampling")
    received = resume.received(request.resume, stopping, samples, tokenization, model.table)
    if received and (beams or best_of > samples):
        raise InvalidFieldError(
            "a beam search, and best_of above n, tell nothing before their end: send resume without received tokens",
            field="resume.received",
        )
    return GenerationRequest(
        token_inputs(tokens),
        _sampling(request, model.manifest, tokenization, stopping, start, ranked=best_of > samples),
        stopping,
        samples=samples if beams else best_of,
        beams=beams,
        prompt_logprobs=None if prompt_logprobs < 0 else prompt_logprobs,
        start=start,
        received=received,
        keeps_state=_keeps(spec),
        outputs=OutputSpec(
            samples=samples if best_of > samples and not beams else None,
            token_ids=not request.outputs.omit_token_ids,
            logprobs=request.outputs.HasField("logprobs"),
        ),
    )


def scoring_requests(
    request: pb.ScoreRequest, model: Model, limits: LimitSettings, start: SequenceState, spec: StateSpec | None
) -> list[ScoringRequest]:
    """Validates a request and tokenizes its inputs, each into one request. Raises: as generation_request."""
    tokenization = language_model(model)
    check_inputs(len(request.inputs), limits)
    top = integer(request, "logprobs", 0, 0, LOGPROBS_MAX, "")
    requested: list[ScoringRequest] = []
    for index, item in enumerate(request.inputs):
        tokens_max = model.manifest.limits.tokens_max
        tokens = _tokens(item, tokenization, limits, start, tokens_max, f"inputs[{index}].")
        if not tokens:
            raise EmptyPromptError(f"inputs[{index}] has no tokens", field=f"inputs[{index}]")
        check_length(len(tokens), tokens_max, "tokens", f"inputs[{index}]")
        requested.append(ScoringRequest(token_inputs(tokens), top, start, _keeps(spec)))
    return requested


def _keeps(spec: StateSpec | None) -> bool:
    """Returns whether the final state of a request is stored or returned."""
    return spec is not None and spec.destination is not Destination.DISCARD


def check_destination(request: pb.GenerateRequest | pb.ScoreRequest, spec: StateSpec | None) -> None:
    """Raises InvalidFieldError if a request that answers with several sequences reads or leaves a state."""
    if isinstance(request, pb.ScoreRequest):
        if spec is not None and len(request.inputs) > 1:
            raise InvalidFieldError(
                f"inputs has {len(request.inputs)} texts, but a state is of one sequence; send one text, or no state",
                field="inputs",
            )
    elif spec is None or not _keeps(spec):
        return
    elif request.sampling.HasField("beam_width"):
        raise InvalidFieldError(
            "a beam search leaves no state; set state.destination to STATE_DESTINATION_DISCARD",
            field="state.destination",
        )
    elif request.sampling.n > 1 and spec.destination is Destination.SESSION:
        raise InvalidFieldError(
            f"sampling.n is {request.sampling.n}, but a session is one sequence; ask for one sample, or set "
            "state.destination to STATE_DESTINATION_SNAPSHOT or _DISCARD",
            field="state.destination",
        )


def _tokens(
    item: pb.GenerateRequest | pb.ScoreInput,
    tokenization: Tokenization,
    limits: LimitSettings,
    start: SequenceState,
    tokens_max: int,
    path: str = "",
) -> list[int]:
    if item.HasField("token_ids"):
        tokens = list(item.token_ids.ids)
        tokenization.check_ids(tokens, f"{path}token_ids.ids")
    else:
        check_bytes(item.text, limits, f"{path}text")
        tokens = tokenization.encode_ids(item.text, f"{path}text", tokens_max=tokens_max)
    vocabulary = tokenization.vocabulary
    begins = start.last_token is None
    if begins and vocabulary.HasField("start_token") and tokens[:1] != [vocabulary.start_token]:
        tokens = [vocabulary.start_token, *tokens]
    return tokens


def _sampling(
    request: pb.GenerateRequest,
    manifest: manifest_pb2.Manifest,
    tokenization: Tokenization,
    stopping: StoppingSpec,
    start: SequenceState,
    *,
    ranked: bool,
) -> SamplingSpec:
    params, path = request.sampling, "sampling"
    default = manifest.generation.temperature if manifest.generation.HasField("temperature") else 1.0
    for name in ("top_p", "repetition_penalty"):
        if params.HasField(name) and getattr(params, name) == 0:
            raise InvalidFieldError(f"sampling.{name} must be above 0, got 0", field=f"sampling.{name}")
    for name in ("allowed_token_ids", "banned_token_ids"):
        tokenization.check_ids(getattr(params, name), f"sampling.{name}")
    allowed, banned = frozenset(params.allowed_token_ids), frozenset(params.banned_token_ids)
    possible = (allowed or frozenset(range(manifest.vocabulary.size))) - banned
    if not possible - (stopping.ends if stopping.min_tokens else frozenset()):
        raise InvalidFieldError("sampling allows no token at all: see allowed_token_ids, banned_token_ids", field=path)
    logprobs = integer(request.outputs, "logprobs", 0 if ranked else -1, 0, LOGPROBS_MAX, "outputs")
    return SamplingSpec(
        seed=resume.seed(request, start),
        temperature=number(params, "temperature", default, 0, 100, path),
        top_k=integer(params, "top_k", 0, 0, (1 << 31) - 1, path),
        top_p=number(params, "top_p", 1.0, 0, 1, path),
        min_p=number(params, "min_p", 0.0, 0, 1, path),
        repetition_penalty=number(params, "repetition_penalty", 1.0, 0, 10, path),
        presence_penalty=number(params, "presence_penalty", 0.0, -2, 2, path),
        frequency_penalty=number(params, "frequency_penalty", 0.0, -2, 2, path),
        logit_bias=_biases(params.logit_bias, tokenization),
        allowed=allowed,
        banned=banned,
        logprobs=None if logprobs < 0 else logprobs,
    )


def _biases(given: Mapping[int, float], tokenization: Tokenization) -> dict[int, float]:
    biases = dict(given)
    tokenization.check_ids(list(biases), "sampling.logit_bias")
    if len(biases) > _BIASES_MAX:
        raise InvalidFieldError(
            f"sampling.logit_bias has {len(biases)} entries, at most {_BIASES_MAX}", field="sampling.logit_bias"
        )
    for token, value in biases.items():
        if not -100 <= value <= 100:
            raise InvalidFieldError(
                f"sampling.logit_bias[{token}] must be in [-100, 100], got {value:g}", field="sampling.logit_bias"
            )
    return biases


def _stopping(params: pb.StoppingParams, manifest: manifest_pb2.Manifest, tokenization: Tokenization) -> StoppingSpec:
    default = manifest.generation.max_tokens if manifest.generation.HasField("max_tokens") else _TOKENS_DEFAULT
    highest = manifest.limits.generate_tokens_max or _TOKENS_MAX
    for what, count, limit in (
        ("stop", len(params.stop), _STOPS_MAX),
        ("stop_token_ids", len(params.stop_token_ids), _STOP_TOKENS_MAX),
    ):
        if count > limit:
            raise InvalidFieldError(f"stopping.{what} has {count} entries, at most {limit}", field=f"stopping.{what}")
    for index, stop in enumerate(params.stop):
        if not 1 <= len(stop) <= _STOP_CHARACTERS_MAX:
            raise InvalidFieldError(
                f"stopping.stop[{index}] has {len(stop)} characters; it has to have 1 to {_STOP_CHARACTERS_MAX}",
                field=f"stopping.stop[{index}]",
            )
    tokenization.check_ids(params.stop_token_ids, "stopping.stop_token_ids")
    vocabulary = manifest.vocabulary
    max_tokens = integer(params, "max_tokens", min(default, highest), 1, highest, "stopping")
    return StoppingSpec(
        max_tokens=max_tokens,
        min_tokens=integer(params, "min_tokens", 0, 0, max_tokens, "stopping"),
        stop=tuple(params.stop),
        stop_tokens=frozenset(params.stop_token_ids),
        end_token=vocabulary.end_token if vocabulary.HasField("end_token") and not params.ignore_eos else None,
        include_stop=params.include_stop,
    )


def _beams(
    request: pb.GenerateRequest, manifest: manifest_pb2.Manifest, limits: LimitSettings, samples: int
) -> BeamSpec | None:
    params = request.sampling
    if not params.HasField("beam_width"):
        return None
    limit = min(limits.samples_max, manifest.vocabulary.size // 2)
    width = integer(params, "beam_width", 0, 2, limit, "sampling")
    if params.temperature:
        raise InvalidFieldError(
            "a beam search draws nothing: leave sampling.temperature out", field="sampling.temperature"
        )
    if samples > width:
        raise InvalidFieldError(f"sampling.n is {samples}, more than the {width} beams", field="sampling.n")
    for message, names, path in (
        (
            params,
            ("top_k", "top_p", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty"),
            "sampling",
        ),
        (params, ("logit_bias", "allowed_token_ids", "banned_token_ids", "best_of"), "sampling"),
        (request.stopping, ("stop", "min_tokens"), "stopping"),
        (request.outputs, ("logprobs", "prompt_logprobs"), "outputs"),
    ):
        refuse(message, names, f"a beam search with {path}")
    return BeamSpec(width, number(params, "length_penalty", 1.0, 0, 4, "sampling"))
