"""What an engine counts: how much it has done, and how much it holds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class EngineStats:
    """What an engine has done so far, and what it holds now; see `metrics` for the meanings."""

    requests: int = 0
    refused: int = 0
    decode_steps: int = 0
    prefill_steps: int = 0
    generated_tokens: int = 0
    prefill_tokens: int = 0
    prefill_padded_tokens: int = 0
    failed_steps: int = 0
    prefix_hits: int = 0
    prefix_misses: int = 0
    prefix_hit_tokens: int = 0
    waiting: int = 0
    prefilling: int = 0
    decoding: int = 0
    paused: int = 0
    open_streams: int = 0
