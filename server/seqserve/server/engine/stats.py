"""What an engine counts: how much it has done, and how much it holds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class EngineStats:
    """What an engine has done since it was made, and what it holds now.

    The event loop's thread counts requests, under the engine's lock; the engine's thread counts steps and tokens.

    Attributes:
        requests: Requests admitted.
        refused: Requests refused because the queue or the streams were at their limit.
        decode_steps: Runs of the graph that gave one token a row.
        prefill_steps: Runs of the graph over known or pushed inputs.
        generated_tokens: Tokens generated.
        prefill_tokens: Input steps consumed in prefill steps.
        prefill_padded_tokens: Steps times rows of prefill steps: the excess over prefill_tokens is padding.
        failed_steps: Runs of the graph that failed.
        failed_rows: Sequences that failed because their outputs were not finite.
        prefix_hits: Prompts whose beginning was in the prefix cache.
        prefix_misses: Prompts whose beginning was not.
        prefix_hit_tokens: Prompt tokens that were not consumed again.
        waiting: Queued sequences.
        prefilling: Sequences whose inputs are being consumed.
        decoding: Sequences in the decode batch.
        paused: Sequences whose readers lag behind.
        open_streams: Open streams, resting ones included.
    """

    requests: int = 0
    refused: int = 0
    decode_steps: int = 0
    prefill_steps: int = 0
    generated_tokens: int = 0
    prefill_tokens: int = 0
    prefill_padded_tokens: int = 0
    failed_steps: int = 0
    failed_rows: int = 0
    prefix_hits: int = 0
    prefix_misses: int = 0
    prefix_hit_tokens: int = 0
    waiting: int = 0
    prefilling: int = 0
    decoding: int = 0
    paused: int = 0
    open_streams: int = 0
