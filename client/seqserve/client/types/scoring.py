"""Scoring: texts in, how likely the model finds them out.

Pure: converts texts to a request and answers to values.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from seqserve.client.errors import ProtocolError
from seqserve.client.types import html
from seqserve.client.types.answer import Servable, Timing, model_ref, servable_from_wire, timing_from_wire
from seqserve.client.types.logprobs import StepLogprobs, logprobs_from_wire
from seqserve.v1 import common_pb2, generation_pb2

ScoreText = str | Sequence[int]
"""A text to score: a str, which the model's tokenizer cuts, or token ids, which stay as they are."""


@dataclass(frozen=True, slots=True)
class TextScore:
    """How likely the model finds a text.

    Attributes:
        logprob: Sum of its tokens' log-probabilities, in nats.
        scored_tokens: Tokens in that sum; the first token of a text has no probability unless the model has a start
            token.
        perplexity: exp(-logprob / scored_tokens); 1 if nothing was scored.
        tokens: One a scored token, if asked for.
        servable: The servable that answered.
        timing: Times of the whole request, all its texts together.
    """

    logprob: float
    scored_tokens: int
    perplexity: float
    tokens: tuple[StepLogprobs, ...]
    servable: Servable
    timing: Timing

    def __repr__(self) -> str:
        return f"<TextScore {self.logprob:.4f} nats, {self.scored_tokens:,} tokens, perplexity {self.perplexity:.4f}>"

    def _repr_html_(self) -> str:
        rows = [(repr(step.chosen.token), f"{step.chosen.logprob:.4f}", step.chosen.rank) for step in self.tokens]
        summary: dict[str, object] = {
            "nats": f"{self.logprob:.4f}",
            "tokens": self.scored_tokens,
            "perplexity": f"{self.perplexity:.4f}",
        }
        tokens = html.table("tokens", ("token", "nats", "rank"), rows) if rows else ""
        return html.fields("score", summary) + tokens


def score_request(
    model: str, texts: Iterable[ScoreText], *, version: int | None = None, logprobs: int | None = None
) -> generation_pb2.ScoreRequest:
    """The request to score texts. Only the given options are set.

    Raises:
        TypeError: If a text is neither a str nor a sequence of token ids.
        ValueError: If a number does not fit its field.
    """
    if isinstance(texts, bytes):
        raise TypeError("texts is bytes: give text (str), or a list of texts")
    return generation_pb2.ScoreRequest(
        model=model_ref(model, version), inputs=[_input(text) for text in texts], logprobs=logprobs
    )


def text_scores_from_wire(message: generation_pb2.ScoreResponse, count: int) -> list[TextScore]:
    """The answer as values, one for each text.

    Args:
        message: The answer.
        count: Number of texts sent.

    Raises:
        ProtocolError: The number of answers differs from the number of texts.
    """
    if len(message.scores) != count:
        raise ProtocolError(f"the server answered {len(message.scores)} texts, {count} were sent")
    servable, timing = servable_from_wire(message.servable), timing_from_wire(message.timing)
    return [
        TextScore(
            logprob=score.logprob,
            scored_tokens=score.scored_tokens,
            perplexity=score.perplexity,
            tokens=logprobs_from_wire(score.tokens),
            servable=servable,
            timing=timing,
        )
        for score in message.scores
    ]


def _input(text: ScoreText) -> generation_pb2.ScoreInput:
    if isinstance(text, str):
        return generation_pb2.ScoreInput(text=text)
    if isinstance(text, bytes):
        raise TypeError("a text is bytes: give text (str), or token ids as a list")
    if not hasattr(text, "__iter__"):
        raise TypeError(
            f"a text is of type {type(text).__name__}: the token ids of one text are a list in the list, [[1, 2, 3]]"
        )
    return generation_pb2.ScoreInput(token_ids=common_pb2.TokenIds(ids=text))
