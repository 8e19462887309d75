"""Functions as pydantic-ai takes them, made once: reading their signatures costs milliseconds each, and every run needs them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from pydantic_ai import FunctionToolset

from reconvene.agents.durable import AgentDeps


@functools.cache
def toolset(*functions: Callable[..., Any]) -> FunctionToolset[AgentDeps]:
    """The tools of an agent. Their docstrings are what the model reads; every parameter has to be described."""
    return FunctionToolset(functions, docstring_format="google", require_parameter_descriptions=True)
