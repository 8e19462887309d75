"""The Tasks extension as the official client's own extension interface has it: a claim on `tools/call`, resolved by polling."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal

import anyio
from mcp.client.extension import ClaimContext, ClientExtension, ResultClaim
from mcp.client.session import ClientSession
from mcp.types import CallToolResult, Request, RequestParams, Result
from pydantic import Field, TypeAdapter

NAME = "io.modelcontextprotocol/tasks"
_ANY: TypeAdapter[dict[str, Any]] = TypeAdapter(dict[str, Any])


class Handle(Result):
    result_type: Literal["task"] = Field("task", alias="resultType")
    task_id: str = Field(alias="taskId")
    status: str
    ttl_ms: int | None = Field(alias="ttlMs")
    poll_interval_ms: int = Field(alias="pollIntervalMs")


class _Params(RequestParams):
    task_id: str = Field(alias="taskId")


class _Answers(_Params):
    input_responses: dict[str, Any] = Field(alias="inputResponses")


class _Get(Request[_Params, Literal["tasks/get"]]):
    method: Literal["tasks/get"] = "tasks/get"


class _Update(Request[_Answers, Literal["tasks/update"]]):
    method: Literal["tasks/update"] = "tasks/update"


class _Cancel(Request[_Params, Literal["tasks/cancel"]]):
    method: Literal["tasks/cancel"] = "tasks/cancel"


async def get(session: ClientSession, task: str) -> dict[str, Any]:
    return await session.send_request(_Get(params=_Params(taskId=task)), _ANY)


async def update(session: ClientSession, task: str, **answers: Any) -> dict[str, Any]:
    return await session.send_request(_Update(params=_Answers(taskId=task, inputResponses=answers)), _ANY)


async def cancel(session: ClientSession, task: str) -> dict[str, Any]:
    return await session.send_request(_Cancel(params=_Params(taskId=task)), _ANY)


class Tasks(ClientExtension):
    """`seen` is what every poll told; `at_poll` is awaited before each, `answer` gives the responses to input requests."""

    identifier = NAME

    def __init__(
        self,
        at_poll: Callable[[int, str], Awaitable[None]] | None = None,
        answer: Callable[[dict[str, Any]], dict[str, Any]] = lambda _requests: {},
    ) -> None:
        self.seen: list[dict[str, Any]] = []
        self.task: str | None = None
        self._at_poll, self._answer = at_poll, answer

    def claims(self) -> Sequence[ResultClaim[Any]]:
        return (ResultClaim(result_type="task", model=Handle, resolve=self._resolve),)

    async def _resolve(self, handle: Handle, ctx: ClaimContext) -> CallToolResult:
        self.task = handle.task_id
        while True:
            if self._at_poll is not None:
                await self._at_poll(len(self.seen), handle.task_id)
            told = await get(ctx.session, handle.task_id)
            self.seen.append(told)
            if told["status"] == "completed":
                return CallToolResult.model_validate(told["result"])
            if told["status"] in ("failed", "cancelled"):
                return CallToolResult(content=[], is_error=True)
            if told["status"] == "input_required" and (answers := self._answer(told["inputRequests"])):
                await update(ctx.session, handle.task_id, **answers)
            await anyio.sleep(0.05)
