"""Functions as pydantic-ai takes them, made once: reading their signatures costs milliseconds each, and every run needs them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from pydantic_ai import FunctionToolset, Tool

from reconvene.agents.durable import AgentDeps


@functools.cache
def as_tools(*functions: Callable[..., Any]) -> tuple[Tool[AgentDeps], ...]:
    """The tools of an agent. Their docstrings are what the model reads; every parameter has to be described.

    They go into the agent's own set: beside another one both would be asked by tasks of their own, three times in every step.
    """
    made: FunctionToolset[AgentDeps] = FunctionToolset(
        functions, docstring_format="google", require_parameter_descriptions=True
    )
    return tuple(made.tools.values())
