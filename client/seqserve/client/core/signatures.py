"""Signatures that show the options of a method one by one."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])


def show_options(options: type) -> Callable[[Function], Function]:
    """Makes ``help()`` and notebooks show the keyword arguments of a method instead of ``**options``.

    Args:
        options: The TypedDict that the method unpacks. None stands for the server's default.
    """

    def decorate(function: Function) -> Function:
        signature = inspect.signature(function)
        parameters = [one for one in signature.parameters.values() if one.kind is not inspect.Parameter.VAR_KEYWORD]
        named = {one.name for one in parameters}
        parameters += [
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=getattr(kind, "__forward_arg__", kind)
            )
            for name, kind in options.__annotations__.items()
            if name not in named
        ]
        function.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        return function

    return decorate
