"""Refuses settings that would have no effect, because whoever sets them expects one."""

from typing import NamedTuple

from pydantic import BaseModel


class Only(NamedTuple):
    """A setting that has an effect only with certain values of another setting.

    Attributes:
        setting: Name of the setting.
        other: Name of the setting that it depends on.
        values: Values of ``other`` with which ``setting`` has an effect.
    """

    setting: str
    other: str
    values: tuple[object, ...]


def refuse_idle(config: BaseModel, *rules: Only) -> None:
    """Refuses settings that differ from their defaults but have no effect.

    Args:
        config: Configuration to check.
        rules: Dependencies between its settings.

    Raises:
        ValueError: A setting has no effect; the message names it and the setting that it depends on.
    """
    for rule in rules:
        given, other = getattr(config, rule.setting), getattr(config, rule.other)
        if given == type(config).model_fields[rule.setting].default or other in rule.values:
            continue
        needed = rule.other if rule.values == (True,) else f"{rule.other} {' or '.join(map(str, rule.values))}"
        raise ValueError(f"{rule.setting} does nothing without {needed}: add that, or leave {rule.setting} out")
