"""Options that need no check are read without one, so that small commands start fast.

Typer 0.29 checks every value with pydantic, whose import costs more processor time than all the rest of a command that asks a running
server something. Texts, switches, plain paths, choices that there are, whole numbers within their bounds and what was not given at all
are what they are; everything else, and so every refusal, is still typer's. A test says what small commands import, so that another
typer which does this differently is noticed.
"""

from __future__ import annotations

import re
from enum import Enum
from pathlib import Path
from typing import Any

from typer import core
from typer._coercion import RuntimeParam, TypeDescriptor, build_runtime_param


class _AsItIs(RuntimeParam):
    """A parameter whose usual values are taken as they are."""

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        if value is None:
            return () if param.multiple or param.nargs == -1 else None
        kind: Any = self.annotation
        if type(value) is kind:  # a text; anything else of the right type was not typed, but is the default
            return value
        if kind is Path and isinstance(value, str | Path):
            return Path(value)
        if isinstance(kind, type) and issubclass(kind, Enum) and value in {choice.value for choice in kind}:
            return kind(value)
        if kind is int and isinstance(value, str) and self._holds(value):
            return int(value)
        if kind == list[str] and all(type(item) is str for item in value):
            return list(value)
        return _checked(param).coerce(value, param=param, ctx=ctx)

    def _holds(self, typed: str) -> bool:
        """Whether this is a whole number within the bounds."""
        least, most = self.parameter_info.min, self.parameter_info.max
        if not re.fullmatch(r"-?[0-9]{1,18}", typed):
            return False
        return (least is None or int(typed) >= least) and (most is None or int(typed) <= most)

    def _coerce_value(self, value: Any, param: Any, ctx: Any) -> Any:
        return _checked(param)._coerce_value(value, param=param, ctx=ctx)


def _checked(param: Any) -> RuntimeParam:
    return build_runtime_param(param.type_descriptor)


def _plain(descriptor: TypeDescriptor) -> RuntimeParam:
    info = descriptor.parameter_info
    bound = descriptor.annotation is Path and (info.exists or info.resolve_path or info.path_type is not None)
    if bound or getattr(info, "parser", None) is not None:
        return build_runtime_param(descriptor)
    return _AsItIs(parameter_info=info, annotation=descriptor.annotation)


def read_plainly() -> None:
    """Have typer do so, in this process."""
    core.build_runtime_param = _plain  # type: ignore[attr-defined]
