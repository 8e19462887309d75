"""Functions as pydantic-ai takes them, made once: reading their signatures costs milliseconds each, and every run needs them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from pydantic_ai import FunctionToolset, Tool

from reconvene.agents.durable import AgentDeps


def as_tools(*functions: Callable[..., Any]) -> tuple[Tool[AgentDeps], ...]:
    """The tools of an agent. Their docstrings are what the model reads; every parameter has to be described.

    They go into the agent's own set: beside another one both would be asked by tasks of their own, three times in every step.
    """
    return tuple(_made(function) for function in functions)


@functools.cache
def _made(function: Callable[..., Any]) -> Tool[AgentDeps]:
    made: FunctionToolset[AgentDeps] = FunctionToolset(
        [function], docstring_format="google", require_parameter_descriptions=True
    )
    (tool,) = made.tools.values()
    return tool
