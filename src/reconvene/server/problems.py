"""Every failure of the HTTP API as problem details; a bug as an id that the log has too."""

from __future__ import annotations

import asyncio
import json
import secrets
from typing import Any, TypeVar

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from reconvene.errors import ReconveneError
from reconvene.protocol.strict_json import load_json
from reconvene.server.asgi import problem, retry_after
from reconvene.server.metrics import Metrics

Taken = TypeVar("Taken", bound=BaseModel)
BODY_TIME = 20.0
"""Seconds for a whole body."""
_log = structlog.get_logger("reconvene.http")
_BY_STATUS = {404: "not_found", 405: "method_not_allowed", 413: "too_large", 422: "invalid_field"}


def answer_with_problems(api: FastAPI, metrics: Metrics) -> None:
    """Install the handlers."""

    def refuse(error: ReconveneError, status: int | None = None, headers: dict[str, str] | None = None) -> Response:
        status = error.kind.status if status is None else status
        metrics.bad_inputs[error.code] += 1
        more = {name.decode(): value.decode() for name, value in retry_after(error)}
        if status == 413:
            more["connection"] = "close"
        body = json.dumps(problem(error, status))
        return Response(
            body, status, {**more, **(headers or {}), "cache-control": "no-store"}, "application/problem+json"
        )

    async def typed(_request: Request, error: Exception) -> Response:
        assert isinstance(error, ReconveneError)
        return refuse(error)

    async def of_framework(_request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        code = _BY_STATUS.get(error.status_code, "invalid_message")
        sentence = {
            "not_found": "There is nothing at this address.",
            "method_not_allowed": "This address does not take this method.",
        }.get(code, str(error.detail))
        return refuse(ReconveneError(code, sentence), error.status_code, dict(error.headers or {}))

    async def invalid(_request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"][1:]) or "request"
        return refuse(ReconveneError("invalid_field", f"{name} cannot be used: {first['msg']}.", path=name), 422)

    async def unforeseen(_request: Request, error: Exception) -> Response:
        id = secrets.token_hex(4)
        _log.error("a request broke the server", id=id, exc_info=error)
        return refuse(
            ReconveneError("internal", f"Something unforeseen happened here; the server's log has it as {id}.", id=id)
        )

    api.add_exception_handler(ReconveneError, typed)
    api.add_exception_handler(HTTPException, of_framework)
    api.add_exception_handler(RequestValidationError, invalid)
    api.add_exception_handler(Exception, unforeseen)


async def read_text(request: Request) -> str:
    """The body. The gate counts its bytes.

    Raises:
        ReconveneError: `too_large`; `invalid_message` when it does not come; `invalid_json` when it is not UTF-8.
    """
    try:
        async with asyncio.timeout(BODY_TIME):
            parts = [part async for part in request.stream()]
    except TimeoutError:
        raise ReconveneError("invalid_message", f"The body did not come within {BODY_TIME:g} s.") from None
    except ClientDisconnect:
        raise ReconveneError("invalid_message", "The connection ended before the body did.") from None
    try:
        return b"".join(parts).decode()
    except UnicodeDecodeError as e:
        raise ReconveneError("invalid_json", "The body is not UTF-8.", position=e.start) from None


async def read_body(request: Request, model: type[Taken]) -> Taken:
    """The body as one JSON object of this shape; an empty body is an empty object.

    Raises:
        ReconveneError: `too_large`, `invalid_json`, `invalid_message`, `invalid_field` (with `path`).
    """
    text = await read_text(request)
    value = load_json(text) if text.strip() else {}
    if not isinstance(value, dict):
        raise ReconveneError("invalid_message", "The body must be one JSON object.")
    try:
        return model.model_validate(value)
    except ValidationError as e:
        first = e.errors(include_url=False, include_input=False)[0]
        path = ".".join(str(part) for part in first["loc"]) or "body"
        message = first["msg"][:1].lower() + first["msg"][1:]
        raise ReconveneError("invalid_field", f"The field {path} cannot be used: {message}.", path=path) from None


def takes(model: type[BaseModel]) -> dict[str, Any]:
    """The description of a body that `read_body` reads: FastAPI's own reading is too forgiving (duplicate keys, NaN)."""
    schema = model.model_json_schema()
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
