"""The options of ``generate``, and the request that they make.

Options that are not given are not sent: for the wire, absent differs from zero (temperature 0 is greedy, no temperature
is the model's default).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict, Unpack

from seqserve.client.core.stream import check_options
from seqserve.client.types.answer import model_ref
from seqserve.client.types.sessions import carried_state
from seqserve.v1 import common_pb2, generation_pb2

Prompt = str | Sequence[int]
"""A prompt as text, or as token ids."""


class GenerateOptions(TypedDict, total=False):
    """Keyword arguments of ``generate``. Options that are missing or None get the server's defaults.

    Names and meanings are those of vLLM's SamplingParams. The filters apply in this order: penalties and bias, allowed
    and banned tokens, temperature, top_k, top_p, min_p.
    """

    version: int | None
    """Version of the model, at least 1. Default: the newest version that serves."""
    max_tokens: int | None
    """Maximum number of tokens to generate, at least 1. Default: the model's, else 16."""
    min_tokens: int | None
    """Neither the end-of-sequence token nor a stop token may come before this many tokens. Default: 0."""
    temperature: float | None
    """Divides the logits, in [0, 100]; 0 is greedy. Default: the model's, else 1."""
    top_k: int | None
    """Sample only from the k likeliest tokens. Default: 0, all."""
    top_p: float | None
    """Sample only from the likeliest tokens whose probabilities sum to this, in (0, 1]. Default: 1, all."""
    min_p: float | None
    """Exclude tokens less likely than this times the likeliest, in [0, 1]. Default: 0, none."""
    repetition_penalty: float | None
    """Above 1 makes tokens of prompt and text less likely, in (0, 10]. Default: 1."""
    presence_penalty: float | None
    """Subtracted from the logits of tokens generated before, in [-2, 2]. Default: 0."""
    frequency_penalty: float | None
    """Subtracted times the number of occurrences, in [-2, 2]. Default: 0."""
    logit_bias: Mapping[int, float] | None
    """Added to the logits of single tokens, by token id, each in [-100, 100]; at most 1,024."""
    allowed_token_ids: Sequence[int] | None
    """Only these tokens may be drawn. Default: all."""
    banned_token_ids: Sequence[int] | None
    """These tokens are never drawn. Default: none."""
    seed: int | None
    """Seed of the randomness, in [0, 2**64); the same one gives the same text. Default: drawn, ``started`` tells it."""
    n: int | None
    """Samples of the one prompt, in [1, 64]; pieces carry the sample's index. Default: 1."""
    best_of: int | None
    """Generate this many, return the n likeliest a token, best first, in [n, 64]; they come at the end. Default: n."""
    beam_width: int | None
    """Beams of a beam search, in [2, 64]; the n best texts come at the end, best first. Default: no beam search."""
    length_penalty: float | None
    """Exponent of the length in a beam's score, in [0, 4]. Default: 1."""
    stop: str | Sequence[str] | None
    """Texts that end the generation and are not returned; at most 16, each 1 to 256 characters."""
    stop_token_ids: Sequence[int] | None
    """Tokens that end the generation and are not part of the text; at most 64."""
    ignore_eos: bool | None
    """Continue after the end-of-sequence token. Default: no."""
    include_stop: bool | None
    """Return the stop string at the end of the text. Default: no."""
    logprobs: int | None
    """Log-probabilities of the chosen token and of this many likeliest at each step, in [0, 20]. Default: none."""
    prompt_logprobs: int | None
    """The same for the prompt's tokens, in ``started``. Default: none."""
    omit_token_ids: bool | None
    """Leave token ids out of the pieces. Default: no."""
    priority: int | None
    """Higher goes first when there are more requests than fit, in [-100, 100]. Default: 0."""
    request_id: str | None
    """Id of the request; a retry with the same id is applied to a session once. At most 128 characters."""
    snapshot: bytes | None
    """Continue from this snapshot of an earlier answer or export. Default: a new sequence."""
    return_snapshot: bool | None
    """Return the state at the end in ``finished.state.snapshot``; any server with the model can continue from it."""


def generate_request(
    model: str, prompt: Prompt = "", **options: Unpack[GenerateOptions]
) -> generation_pb2.GenerateRequest:
    """The request to generate text. Only the given options are set.

    Raises:
        TypeError: If an option is not known or of the wrong type.
        ValueError: If a number does not fit its field.
    """
    if isinstance(prompt, bytes):
        raise TypeError("the prompt is bytes: give text (str), or token ids as a list")
    check_options(options, GenerateOptions, "generate")
    seed = options.get("seed")
    if seed is not None and not 0 <= seed < 2**64:
        raise ValueError(f"seed must be in [0, 2**64), got {seed}")
    stop = options.get("stop")
    sampling = generation_pb2.SamplingParams(
        temperature=options.get("temperature"),
        top_k=options.get("top_k"),
        top_p=options.get("top_p"),
        min_p=options.get("min_p"),
        repetition_penalty=options.get("repetition_penalty"),
        presence_penalty=options.get("presence_penalty"),
        frequency_penalty=options.get("frequency_penalty"),
        logit_bias=options.get("logit_bias"),
        allowed_token_ids=options.get("allowed_token_ids"),
        banned_token_ids=options.get("banned_token_ids"),
        seed=seed,
        n=options.get("n"),
        best_of=options.get("best_of"),
        beam_width=options.get("beam_width"),
        length_penalty=options.get("length_penalty"),
    )
    stopping = generation_pb2.StoppingParams(
        max_tokens=options.get("max_tokens"),
        min_tokens=options.get("min_tokens"),
        stop=[stop] if isinstance(stop, str) else stop,
        stop_token_ids=options.get("stop_token_ids"),
        ignore_eos=options.get("ignore_eos") or False,
        include_stop=options.get("include_stop") or False,
    )
    outputs = generation_pb2.GenerateOutputs(
        logprobs=options.get("logprobs"),
        prompt_logprobs=options.get("prompt_logprobs"),
        omit_token_ids=options.get("omit_token_ids") or False,
    )
    return generation_pb2.GenerateRequest(
        state=carried_state(options.get("snapshot"), returned=options.get("return_snapshot") or False),
        model=model_ref(model, options.get("version")),
        text=prompt if prompt and isinstance(prompt, str) else None,
        token_ids=common_pb2.TokenIds(ids=prompt) if prompt and not isinstance(prompt, str) else None,
        sampling=sampling if sampling.ListFields() else None,
        stopping=stopping if stopping.ListFields() else None,
        outputs=outputs if outputs.ListFields() else None,
        priority=options.get("priority"),
        request_id=options.get("request_id"),
    )
