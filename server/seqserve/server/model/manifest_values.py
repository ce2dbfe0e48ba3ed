"""Checks the numbers of a manifest that requests rely on later: tokens, limits, defaults, scores and states."""

from __future__ import annotations

import math

from seqserve.server.errors import BrokenServableError
from seqserve.v1 import manifest_pb2 as pb
from seqserve.v1 import state_pb2

_TEMPERATURE_MAX = 100.0
_TOKENS = ("start_token", "end_token", "unknown_token", "mask_token")
_LIMITS = ("tokens_max", "prompt_tokens_max", "generate_tokens_max")
_STATE_TYPES = (state_pb2.ELEMENT_TYPE_FLOAT32, state_pb2.ELEMENT_TYPE_UINT8)


def check_values(manifest: pb.Manifest) -> None:
    """Raises BrokenServableError, which names field, range and value, for the first value that cannot be right."""
    size = manifest.vocabulary.size
    for name in _TOKENS:
        if manifest.vocabulary.HasField(name):
            token = getattr(manifest.vocabulary, name)
            _require(0 <= token < size, f"vocabulary.{name}", f"in [0, {size})", token)
    word_bytes = manifest.vocabulary.word_bytes_max
    _require(word_bytes >= 0, "vocabulary.word_bytes_max", "at least 0", word_bytes)
    for name in _LIMITS:
        limit = getattr(manifest.limits, name)
        _require(limit >= 0, f"limits.{name}", "at least 0", limit)
    _check_defaults(manifest.generation)
    labels = manifest.labels
    _require(0 <= labels.threshold < 1, "labels.threshold", "in [0, 1)", labels.threshold)
    for name in ("transitions", "start_scores", "end_scores"):
        for index, score in enumerate(getattr(labels, name)):  # minus infinity forbids a transition
            _require(score < math.inf, f"labels.{name}[{index}]", "less than infinity", score)
    for index, state in enumerate(manifest.states):
        _check_state(f"states[{index}]", state)


def _check_defaults(generation: pb.GenerationDefaults) -> None:
    if generation.HasField("temperature"):
        temperature = generation.temperature
        in_range = 0 <= temperature <= _TEMPERATURE_MAX
        _require(in_range, "generation.temperature", f"in [0, {_TEMPERATURE_MAX:g}]", temperature)
    if generation.HasField("max_tokens"):
        _require(generation.max_tokens >= 1, "generation.max_tokens", "at least 1", generation.max_tokens)


def _check_state(name: str, state: pb.StateSpec) -> None:
    _require(state.size >= 1, f"{name}.size", "at least 1", state.size)
    known = state.element_type in _STATE_TYPES
    _require(known, f"{name}.element_type", f"one of {list(_STATE_TYPES)}", state.element_type)
    _require(math.isfinite(state.initial_value), f"{name}.initial_value", "finite", state.initial_value)
    count = state.directions * state.size
    given = len(state.initial_values)
    _require(given in (0, count), f"{name}.initial_values", f"0 or {count} numbers", given)
    for index, number in enumerate(state.initial_values):
        _require(math.isfinite(number), f"{name}.initial_values[{index}]", "finite", number)


def _require(condition: bool, name: str, allowed: str, value: float) -> None:
    if not condition:  # NaN fails every comparison
        raise BrokenServableError(f"the manifest's {name} must be {allowed}, got {value:g}; export the servable again")
