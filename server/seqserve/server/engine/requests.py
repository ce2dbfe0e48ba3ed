"""The requests that an engine takes. Each one makes the sequence that answers it."""

from __future__ import annotations

from seqserve.server.engine.forward import ForwardRequest
from seqserve.server.engine.generation import GenerationRequest
from seqserve.server.engine.generation_spec import BeamSpec, OutputSpec, Received, StoppingSpec
from seqserve.server.engine.lookahead import StepStreamRequest
from seqserve.server.engine.score_stream import ScoreStreamRequest
from seqserve.server.engine.scoring import ScoringRequest
from seqserve.server.engine.sequence import Admission

Request = GenerationRequest | ForwardRequest | ScoringRequest
StreamRequest = StepStreamRequest | ScoreStreamRequest  # their inputs arrive over time

__all__ = [
    "Admission",
    "BeamSpec",
    "ForwardRequest",
    "GenerationRequest",
    "OutputSpec",
    "Received",
    "Request",
    "ScoreStreamRequest",
    "ScoringRequest",
    "StepStreamRequest",
    "StoppingSpec",
    "StreamRequest",
]
