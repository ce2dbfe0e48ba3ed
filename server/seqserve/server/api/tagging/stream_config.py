"""Validates the config of StreamTag: when tags become final, and what is reported."""

from __future__ import annotations

from dataclasses import dataclass

from seqserve.server.api.fields import integer
from seqserve.server.api.tagging.requests import check_outputs, tagger
from seqserve.server.errors import InvalidFieldError
from seqserve.server.repository import Model
from seqserve.server.settings import LimitSettings
from seqserve.server.text.sentences import SentenceRule
from seqserve.server.text.tokenization import Tokenization
from seqserve.v1 import tagging_pb2 as pb

_SENTENCE_RULES = {
    pb.SENTENCE_RULE_UNSPECIFIED: SentenceRule.CALLER,
    pb.SENTENCE_RULE_CLIENT: SentenceRule.CALLER,
    pb.SENTENCE_RULE_NEWLINE: SentenceRule.NEWLINE,
    pb.SENTENCE_RULE_PUNCTUATION: SentenceRule.PUNCTUATION,
}


@dataclass(frozen=True, slots=True)
class TagPlan:
    """How a stream is tagged.

    lookahead: steps of future that a step's scores wait for; None: the rest of the sentence. lag_max: with a CRF, most
    further steps that a label waits for, unless sentences are seen whole.
    """

    tokenization: Tokenization
    outputs: pb.TagOutputs
    rule: SentenceRule
    lookahead: int | None
    lag_max: int
    provisional: bool


def tag_plan(config: pb.StreamTagConfig, model: Model, limits: LimitSettings) -> TagPlan:
    """Validates a config.

    Raises: TaskMismatchError if the model is no tagger or cannot do what is asked; InvalidFieldError.
    """
    tokenization, network = tagger(model), model.manifest.network
    check_outputs(config.outputs, model, "config.outputs")
    if config.sentence_rule not in _SENTENCE_RULES:
        raise _unknown("sentence_rule", config.sentence_rule)
    lookahead = _future(config, limits) if network.bidirectional else _no_future(config, model)
    if config.provisional and not (network.bidirectional or network.crf):
        raise InvalidFieldError(
            "config.provisional is set, but this model reads in one direction and has no CRF: its tags are final at "
            "once; leave it out",
            field="config.provisional",
        )
    whole = lookahead is None
    if config.HasField("decision_lag_max") and (whole or not network.crf):
        why = "sentences are decided whole" if network.crf else "this model has no CRF"
        raise InvalidFieldError(
            f"config.decision_lag_max is set, but {why}: no decision is put off; leave it out",
            field="config.decision_lag_max",
        )
    limit = limits.decision_lag_max
    return TagPlan(
        tokenization,
        config.outputs,
        _SENTENCE_RULES[config.sentence_rule],
        lookahead,
        integer(config, "decision_lag_max", limit, 0, limit, "config"),
        config.provisional,
    )


def _no_future(config: pb.StreamTagConfig, model: Model) -> int:
    """Returns the look-ahead of a one-directional model, 0."""
    match config.finality:
        case pb.TAG_FINALITY_UNSPECIFIED:
            pass
        case pb.TAG_FINALITY_IMMEDIATE if not model.manifest.network.crf:
            pass
        case pb.TAG_FINALITY_IMMEDIATE:
            raise InvalidFieldError(
                "config.finality is TAG_FINALITY_IMMEDIATE, but this model has a CRF, whose labels depend on later "
                "ones; set config.decision_lag_max to 0 to have them decided at once",
                field="config.finality",
            )
        case pb.TAG_FINALITY_LOOKAHEAD | pb.TAG_FINALITY_SENTENCE:
            raise InvalidFieldError(
                f"config.finality is {pb.TagFinality.Name(config.finality)}, but this model reads in one direction: "
                "what comes later changes nothing; leave it out",
                field="config.finality",
            )
        case _:
            raise _unknown("finality", config.finality)
    if config.lookahead:
        raise InvalidFieldError(
            f"config.lookahead is {config.lookahead}, but this model reads in one direction: what comes later changes "
            "nothing; leave it out",
            field="config.lookahead",
        )
    return 0


def _future(config: pb.StreamTagConfig, limits: LimitSettings) -> int | None:
    """Returns the look-ahead of a bidirectional model. None: to the end of the sentence."""
    if config.lookahead and config.finality != pb.TAG_FINALITY_LOOKAHEAD:
        raise InvalidFieldError(
            f"config.lookahead is {config.lookahead}; it needs config.finality TAG_FINALITY_LOOKAHEAD",
            field="config.lookahead",
        )
    match config.finality:
        case pb.TAG_FINALITY_UNSPECIFIED | pb.TAG_FINALITY_SENTENCE:
            return None
        case pb.TAG_FINALITY_IMMEDIATE:
            raise InvalidFieldError(
                "config.finality is TAG_FINALITY_IMMEDIATE, but this model reads in both directions, so a tag depends "
                "on what comes later; use TAG_FINALITY_LOOKAHEAD, with config.lookahead 0 for tags at once",
                field="config.finality",
            )
        case pb.TAG_FINALITY_LOOKAHEAD:
            pass
        case _:
            raise _unknown("finality", config.finality)
    if not 0 <= config.lookahead <= limits.lookahead_max:
        raise InvalidFieldError(
            f"config.lookahead must be in [0, {limits.lookahead_max}], got {config.lookahead}",
            field="config.lookahead",
        )
    return config.lookahead


def _unknown(name: str, value: int) -> InvalidFieldError:
    return InvalidFieldError(f"config.{name} is {value}, which this server does not know", field=f"config.{name}")
