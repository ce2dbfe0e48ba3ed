"""Settings that would do nothing: refused, for who gives one expects something of it."""

from typing import NamedTuple

from pydantic import BaseModel


class Only(NamedTuple):
    """A setting, and the values of another one without which it does nothing."""

    setting: str
    other: str
    values: tuple[object, ...]


def refuse_idle(config: BaseModel, *rules: Only) -> None:
    """Refuse a setting that is not as it is by default, and of no use as another one is.

    Raises: ValueError naming both.
    """
    for rule in rules:
        given, other = getattr(config, rule.setting), getattr(config, rule.other)
        if given == type(config).model_fields[rule.setting].default or other in rule.values:
            continue
        needed = rule.other if rule.values == (True,) else f"{rule.other} {' or '.join(map(str, rule.values))}"
        raise ValueError(f"{rule.setting} does nothing without {needed}: add that, or leave {rule.setting} out")
