"""How many characters a token of a model has, fitted from what its provider counted.

No tokenizer is asked: it is not there for most models, and the provider's own `usage` is what counts. Between two requests of a run the
messages grew by so many characters and the provider's count by so many tokens: mostly results of tools, which is what the map is like.
Instructions and schemas stand in both requests and fall out. Kept for each model in the data folder, as an estimate that may be lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import tempfile
from pathlib import Path

from pydantic_ai import RunContext
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.messages import ModelResponse
from pydantic_ai.models import Model, ModelRequestContext

from reconvene.agents.compaction import size
from reconvene.agents.durable import AgentDeps

FILE = "tokens.json"
BEGIN = 3.0
"""Characters a token, until a provider said better: maps of code have 2.8 to 3.8, so a budget is rather kept than used up."""
LEAST, MOST = 2.0, 5.0
_DOUBT = 4_000
"""Tokens that `BEGIN` weighs as much as."""
_KEPT = 200_000
"""Tokens after which older figures count half: a provider changes its tokenizer with the model, and names stay."""
_GREW = 200
"""Tokens between two requests that tell anything."""
_MODELS = 64
_SENSIBLE = 1e9


class TokenRatios:
    """Characters a token, by model. `file`: where they are kept; None: nowhere."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._counted: dict[str, tuple[float, float]] = {}
        if file is not None:
            with contextlib.suppress(OSError, ValueError, TypeError, AttributeError):
                for model, (chars, tokens) in json.loads(file.read_text("utf-8")).items():
                    if max(abs(float(chars)), abs(float(tokens))) < _SENSIBLE:
                        self._counted[str(model)] = abs(float(chars)), abs(float(tokens))

    def of(self, model: str) -> float:
        """In steps of a tenth, so that maps made with it are shared."""
        chars, tokens = self._counted.get(model, (0.0, 0.0))
        return round(min(max((BEGIN * _DOUBT + chars) / (_DOUBT + tokens), LEAST), MOST), 1)

    def learn(self, model: str, chars: int, tokens: int) -> bool:
        """Take in a growth of so many characters that was counted as so many tokens; whether `of` says something else now."""
        if tokens < _GREW or not LEAST / 2 < chars / tokens < MOST * 2:
            return False
        before = self.of(model)
        known, counted = self._counted.pop(model, (0.0, 0.0))
        share = 0.5 if counted > _KEPT else 1.0
        self._counted[model] = known * share + chars, counted * share + tokens
        while len(self._counted) > _MODELS:
            del self._counted[next(iter(self._counted))]
        return self.of(model) != before

    def keep(self) -> None:
        """Write them down. Blocking; a failure to write is no failure."""
        if self._file is None:
            return
        with contextlib.suppress(OSError):
            handle, name = tempfile.mkstemp(dir=self._file.parent, prefix=f".{FILE}.")
            try:
                with os.fdopen(handle, "w") as out:
                    json.dump(self._counted, out)
                os.replace(name, self._file)
            except OSError:
                os.unlink(name)
                raise


class Fitting(AbstractCapability[AgentDeps]):
    """Learns from each response of one run."""

    def __init__(self) -> None:
        self._before: tuple[int, int] | None = None

    async def after_model_request(
        self, ctx: RunContext[AgentDeps], *, request_context: ModelRequestContext, response: ModelResponse
    ) -> ModelResponse:
        tokens = response.usage.input_tokens
        ratios = ctx.deps.token_ratios
        if ratios is None or not tokens or _guesses(request_context.model):
            return response
        now = (size(request_context.messages), tokens)
        if self._before is not None:
            chars, counted = now[0] - self._before[0], now[1] - self._before[1]
            if counted > 0 and ratios.learn(named(request_context.model), chars, counted):
                await asyncio.to_thread(ratios.keep)
        self._before = now
        return response


def named(model: Model) -> str:
    """A model's name with its provider's."""
    model = _inner(model)
    return f"{model.system}:{model.model_name}"


def _guesses(model: Model) -> bool:
    """Whether the counts are made up on this side."""
    return _inner(model).system in ("function", "test")


def _inner(model: Model) -> Model:
    while isinstance(wrapped := getattr(model, "wrapped", None), Model):
        model = wrapped
    return model
