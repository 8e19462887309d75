"""The journal of a sub-agent: a part of its run's, under a scope of its own.

What a sub-agent was answered is in the log like what the run's own agent was, so no finished model call of it is repeated either.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from pydantic_ai.messages import ModelMessage, ModelMessagesTypeAdapter, ModelResponse

from reconvene.log.port import NewEvent
from reconvene.protocol import events as ev
from reconvene.runs.deltas import Deltas
from reconvene.runs.journal import BRANCH, Journal, without_instructions
from reconvene.sessions.state import RunStatus


class Branch(Journal):
    """
    Args:
        trunk: the run's journal, or another branch of it.
        scope: what is only this sub-agent's, for ever: the tool call's item and a word of its own.
        parent: the item it is shown under.
        quiet: what it says is not shown, only what it does.
    """

    def __init__(self, trunk: Journal, scope: str, *, parent: str, quiet: bool) -> None:
        super().__init__(trunk.sessions, trunk.session_id, trunk.run_id, trunk.fence)
        self.trunk, self.scope, self.parent, self.quiet = trunk, scope, parent, quiet
        self.results, self.once, self.keys, self.usage = trunk.results, trunk.once, trunk.keys, trunk.usage
        self.branches, self.attempt = trunk.branches, trunk.attempt
        self.writes, self.context_limit, self.model = trunk.writes, trunk.context_limit, trunk.model
        self.spent = trunk.spent
        for messages in trunk.branches.get(scope, []):
            self.messages += messages
            self.steps += sum(isinstance(m, ModelResponse) for m in messages)
        self.held = trunk.held
        self.deltas = Deltas(self.run_id, self.attempt, self._soon, parent)

    async def write(self, events: Sequence[NewEvent], *, changes: dict[str, RunStatus] | None = None) -> None:
        await self.trunk.write([*self.deltas.take(), *events], changes=changes)

    async def hold(self, events: Sequence[NewEvent], *, answer: bool = False) -> None:
        await self.trunk.hold([*self.deltas.take(), *events], answer=answer)

    async def record_response(
        self,
        new: list[ModelMessage],
        response: ModelResponse,
        steered: Sequence[str],
        *,
        estimated: bool,
        interrupted: bool = False,
    ) -> None:
        await super().record_response(new, response, steered, estimated=estimated, interrupted=interrupted)
        # When the run asks its provider again it goes on from here too, without having been loaded anew.
        self.branches.setdefault(self.scope, []).append([*new, response])

    def kept(self, messages: Sequence[ModelMessage], steered: Sequence[str] = ()) -> NewEvent:
        text = ModelMessagesTypeAdapter.dump_json([without_instructions(m) for m in messages]).decode()
        body = f'{{"scope":{json.dumps(self.scope)},"step":{self.steps},"messages":{text}}}'
        return NewEvent(BRANCH, body, self.run_id, key=f"model:{self.scope}.{self.steps}", public=False)

    def usage_content(self, response: ModelResponse, estimated: bool) -> ev.Usage:
        """How full the context is stays that of the run's own agent."""
        return super().usage_content(response, estimated).model_copy(update={"context_used": self.trunk.context_used})

    def broken_off(self) -> None:
        """What it had begun to say will be struck: nothing replaces it."""
        self.strike()
        self.trunk.open_items.update(self.open_items)
        self.open_items.clear()
