"""Sessions whose whole course is known beforehand: what each request asks is a function of two numbers.

So the same story can be told twice, once while servers are killed and once in peace, and both have to read the same to
the byte.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from seqserve.client import AsyncClient, AsyncSession

MODEL = "shakespeare-char"
_WORDS = ("ROMEO:", "\n\nJULIET:\nO ", "What ", "\n\nKING RICHARD III:\n", "The ", "\nAnd so, ", "my lord, ")
_TOKENS = (40, 240)  # least and most that one request generates


@dataclass(frozen=True, slots=True)
class Asked:
    """One request of a story."""

    prompt: str
    seed: int
    max_tokens: int


@dataclass(slots=True)
class Story:
    """What one session was told so far, and what was wrong with it.

    Attributes:
        number: which story.
        session_id: the session that holds it.
        texts: the answer of each request that ended.
        position: of the session, by the answers received.
        missing, doubled: tokens that the positions show to be left out, or to have come twice.
        resumed: times that a stream broke and went on.
    """

    number: int
    session_id: str
    texts: list[str] = field(default_factory=list[str])
    position: int = 0
    missing: int = 0
    doubled: int = 0
    resumed: int = 0

    def gap(self, expected: int, found: int) -> None:
        """Note that a position was expected and another one found."""
        self.missing += max(0, found - expected)
        self.doubled += max(0, expected - found)


def asked(story: int, request: int) -> Asked:
    """What the ``request``-th request of a story asks."""
    chance = random.Random(f"story {story}, request {request}")
    return Asked(chance.choice(_WORDS), chance.getrandbits(63), chance.randint(*_TOKENS))


async def tell(client: AsyncClient, story: Story, goes_on: Callable[[], bool], resume_s: float) -> None:
    """Tell a story in its session, request by request, as long as ``goes_on()``.

    Args:
        client: whose stubs resume broken streams by themselves.
        story: where what comes is written; an answer is written once all of it has come.
        goes_on: asked before each request.
        resume_s: how long a broken stream is tried again.
    Raises: SeqserveError if a request failed in spite of that.
    """
    async with client.session(MODEL, story.session_id) as session:
        while goes_on():
            await _one_request(session, story, resume_s)


async def _one_request(session: AsyncSession, story: Story, resume_s: float) -> None:
    ask = asked(story.number, len(story.texts))
    stream = session.generate(ask.prompt, seed=ask.seed, max_tokens=ask.max_tokens, temperature=0.9, resume_s=resume_s)
    position, told = story.position + len(ask.prompt), list[str]()
    async for piece in stream:
        story.gap(position, piece.position)
        position = piece.position + len(piece.token_ids)
        told.append(piece.text)
    story.gap(story.position + len(ask.prompt) + ask.max_tokens, position)
    story.gap(position, session.position)
    story.resumed += stream.resumed
    story.position = session.position
    story.texts.append("".join(told))


async def differing(client: AsyncClient, stories: list[Story]) -> int:
    """How many answers of the stories differ from what an undisturbed server gives.

    Args: client: of a server that nobody kills, with the same model.
    """
    count = 0
    for story in stories:
        again = Story(story.number, f"undisturbed-{story.number}")
        async with client.session(MODEL) as session:
            while len(again.texts) < len(story.texts):
                await _one_request(session, again, resume_s=0.0)
        count += sum(first != second for first, second in zip(story.texts, again.texts, strict=True))
    return count
