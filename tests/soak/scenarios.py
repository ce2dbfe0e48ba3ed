"""Sessions whose whole course is known beforehand: each request is a function of two numbers.

A scenario can therefore run twice, once while servers are killed and once undisturbed, and both runs have to give the
same text to the byte.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from seqserve.client import AsyncClient, AsyncSession

MODEL = "shakespeare-char"
_PROMPTS = ("ROMEO:", "\n\nJULIET:\nO ", "What ", "\n\nKING RICHARD III:\n", "The ", "\nAnd so, ", "my lord, ")
_TOKENS = (40, 240)  # minimum and maximum that one request generates


@dataclass(frozen=True, slots=True)
class ScenarioRequest:
    """One request of a scenario."""

    prompt: str
    seed: int
    max_tokens: int


@dataclass(slots=True)
class Scenario:
    """The progress of one session, and the faults that its caller saw.

    Attributes:
        number: Which scenario; the requests follow from it.
        session_id: The session that holds its state.
        texts: The answer of each request that ended.
        position: Position of the session according to the answers received.
        missing: Tokens that the positions show to be left out.
        doubled: Tokens that the positions show to have come twice.
        resumed: How often a broken stream was resumed.
    """

    number: int
    session_id: str
    texts: list[str] = field(default_factory=list[str])
    position: int = 0
    missing: int = 0
    doubled: int = 0
    resumed: int = 0

    def check_position(self, expected: int, actual: int) -> None:
        """Counts the tokens between an expected position and the actual one as missing or doubled."""
        self.missing += max(0, actual - expected)
        self.doubled += max(0, expected - actual)


def scenarios(count: int) -> list[Scenario]:
    """Makes ``count`` scenarios that have not begun."""
    return [Scenario(number, f"scenario-{number}") for number in range(count)]


def request_of(scenario: int, index: int) -> ScenarioRequest:
    """Returns the request number ``index`` of a scenario; the same one in every run."""
    chance = random.Random(f"scenario {scenario}, request {index}")
    return ScenarioRequest(chance.choice(_PROMPTS), chance.getrandbits(63), chance.randint(*_TOKENS))


async def play(client: AsyncClient, scenario: Scenario, proceed: Callable[[], bool], resume_s: float) -> None:
    """Sends the requests of a scenario to its session, one after the other, while ``proceed()`` is true.

    Args:
        client: The client, which resumes broken streams by itself.
        scenario: Takes the answers; an answer is recorded once all of it has arrived.
        proceed: Called before each request.
        resume_s: How long a broken stream is retried, in seconds.

    Raises:
        SeqserveError: A request failed in spite of the retries.
    """
    async with client.session(MODEL, scenario.session_id) as session:
        while proceed():
            await _send_one(session, scenario, resume_s)


async def _send_one(session: AsyncSession, scenario: Scenario, resume_s: float) -> None:
    request = request_of(scenario.number, len(scenario.texts))
    stream = session.generate(
        request.prompt, seed=request.seed, max_tokens=request.max_tokens, temperature=0.9, resume_s=resume_s
    )
    position, texts = scenario.position + len(request.prompt), list[str]()
    async for piece in stream:
        scenario.check_position(position, piece.position)
        position = piece.position + len(piece.token_ids)
        texts.append(piece.text)
    scenario.check_position(scenario.position + len(request.prompt) + request.max_tokens, position)
    scenario.check_position(position, session.position)
    scenario.resumed += stream.resumed
    scenario.position = session.position
    scenario.texts.append("".join(texts))


async def count_differing(client: AsyncClient, played: list[Scenario]) -> int:
    """Counts the answers that differ from those of an undisturbed server.

    Args:
        client: A client of a server that nobody kills, with the same model.
        played: The scenarios to compare.
    """
    count = 0
    for scenario in played:
        reference = Scenario(scenario.number, f"undisturbed-{scenario.number}")
        async with client.session(MODEL) as session:
            while len(reference.texts) < len(scenario.texts):
                await _send_one(session, reference, resume_s=0.0)
        count += sum(text != expected for text, expected in zip(scenario.texts, reference.texts, strict=True))
    return count
