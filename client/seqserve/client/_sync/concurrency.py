"""Events and threads for blocking code; the asyncio client has a module with the same names."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import ParamSpec, TypeAlias, TypeVar

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

Event: TypeAlias = threading.Event
"""An event to wait for."""


def run_in_thread(
    function: Callable[Parameters, Result], *arguments: Parameters.args, **options: Parameters.kwargs
) -> Result:
    """Calls a function that blocks; the caller waits anyway."""
    return function(*arguments, **options)
