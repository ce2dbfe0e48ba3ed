"""Events and threads for asyncio; the blocking client has a module with the same names."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeAlias, TypeVar

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

AsyncEvent: TypeAlias = asyncio.Event
"""An event to wait for."""


async def run_in_thread(
    function: Callable[Parameters, Result], *arguments: Parameters.args, **options: Parameters.kwargs
) -> Result:
    """Calls a function that blocks, away from the event loop."""
    return await asyncio.to_thread(function, *arguments, **options)
