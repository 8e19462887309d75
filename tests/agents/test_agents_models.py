"""Models by name, and real provider clients against a server of ours that answers as badly as it is told."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import agent_fakes as fakes
import pytest
from pydantic_ai import exceptions as broken

from reconvene.agents import models
from reconvene.agents.models import classify, resolve
from reconvene.agents.orchestrator import build
from reconvene.config import Limits
from reconvene.errors import ReconveneError

KEY = "sk-test-0123456789abcdef0123456789"


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in os.environ:
        if any(p in name for p in ("_API_KEY", "_BASE_URL", "_TOKEN")):
            monkeypatch.delenv(name)


# -- by name


def test_offline_needs_nothing() -> None:
    assert models.is_offline(" Offline ")
    assert resolve("offline").model_name == resolve("").model_name
    assert not models.is_offline("openai:gpt-5")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("openai:gpt-5", "or set OPENAI_API_KEY in the server's environment"),
        ("anthropic:claude-sonnet-5-5", "set ANTHROPIC_API_KEY"),
        ("ollama:qwen3", "set OLLAMA_BASE_URL (for example http://localhost:11434/v1)"),
        ("groq:llama", 'pip install "pydantic-ai-slim[groq]=='),
        ("nobody:gpt", "no such provider or model"),
        ("gpt-5", "`provider:model`"),
        ("openai:", "`provider:model`"),
    ],
)
def test_what_is_missing_is_said(name: str, sentence: str) -> None:
    with pytest.raises(ReconveneError) as caught:
        resolve(name)
    assert caught.value.code == "model_unknown"
    assert sentence in caught.value.message
    assert "Agent(" not in caught.value.message


def test_a_key_given_as_a_model_name_is_not_echoed() -> None:
    with pytest.raises(ReconveneError) as caught:
        resolve(f"openai:{KEY}")
    assert KEY not in str(caught.value.content())


def test_a_server_of_one_s_own_gets_chat_completions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    assert type(resolve("openai:gpt-5")).__name__ == "OpenAIResponsesModel"
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
    model = resolve("openai:qwen")
    assert (type(model).__name__, model.model_name) == ("OpenAIChatModel", "qwen")
    monkeypatch.setenv("OPENAI_BASE_URL", "https://eu.api.openai.com/v1")
    assert type(resolve("openai:gpt-5")).__name__ == "OpenAIResponsesModel"


@pytest.mark.parametrize(
    ("name", "variable"),
    [
        ("openai-chat:gpt-5", "OPENAI_API_KEY"),
        ("deepseek:x", "DEEPSEEK_API_KEY"),
        ("ollama:qwen3", "OLLAMA_BASE_URL"),
        ("openrouter:a/b", "OPENROUTER_API_KEY"),
    ],
)
def test_every_chat_model_refuses_a_stream_without_an_end(
    monkeypatch: pytest.MonkeyPatch, name: str, variable: str
) -> None:
    monkeypatch.setenv(variable, "http://127.0.0.1:1/v1" if "URL" in variable else KEY)
    assert resolve(name).profile["openai_chat_streaming_requires_finish_reason"] is True  # type: ignore[typeddict-item]


def test_importing_it_reaches_for_nothing_and_shows_no_banner() -> None:
    code = (
        "import socket\n"
        "def no(*a, **k): raise AssertionError('network')\n"
        "socket.socket.connect = socket.getaddrinfo = no\n"
        "import reconvene.agents.models, pydantic_ai\n"
        "assert pydantic_ai.BANNER_ENABLED is False\n"
        "reconvene.agents.models.resolve('offline')\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


# -- what goes wrong


def http(status: int, body: Any = None, headers: dict[str, str] | None = None) -> broken.ModelHTTPError:
    return broken.ModelHTTPError(status, "gpt-5", body, headers=headers)


@pytest.mark.parametrize(
    ("exc", "code"),
    [
        (http(401, {"error": {"message": f"Incorrect API key provided: {KEY}"}}), "provider_auth"),
        (http(403), "provider_auth"),
        (broken.ModelQuotaExceededError("gpt-5", "no credit"), "provider_auth"),
        (http(429, headers={"Retry-After": "7"}), "provider_rate_limited"),
        (http(500), "provider_unavailable"),
        (http(502), "provider_unavailable"),
        (broken.ModelConnectionError("gpt-5", "reset"), "provider_unavailable"),
        (broken.ModelRequestTimeout("gpt-5", 10), "provider_unavailable"),
        (ConnectionResetError(), "provider_unavailable"),
        (TimeoutError(), "provider_unavailable"),
        (http(400, {"error": {"message": "maximum context length is 8192 tokens"}}), "context_full"),
        (broken.ModelContextWindowExceededError("gpt-5", "x"), "context_full"),
        (http(404), "model_unknown"),
        (broken.UnexpectedModelBehavior("Exceeded maximum retries (3) for output validation"), "model_misbehaved"),
        (broken.IncompleteToolCall("x"), "model_misbehaved"),
        (broken.ContentFilterError("x"), "model_misbehaved"),
        (broken.UsageLimitExceeded("The next request would exceed the request_limit of 50"), "budget_exceeded"),
        (ReconveneError("fenced", "Another owner."), "fenced"),
        (ExceptionGroup("all failed", [ValueError(), http(503)]), "provider_unavailable"),
        (KeyError("x"), "internal"),
    ],
    ids=[
        "bad112-401", "bad112-403", "quota", "bad113-429", "bad114-500", "bad114-502", "bad114-reset", "bad114-timeout", "bad114-os-reset",
        "bad114-os-timeout", "bad122-said", "bad122-typed", "not-found", "bad117-empty", "bad119-cut", "filtered", "budget", "ours",
        "group", "bug",
    ],
)  # fmt: skip
def test_classify(exc: BaseException, code: str) -> None:
    error = classify(exc)
    assert error.code == code
    assert error.message.endswith((".", "?"))
    assert KEY not in str(error.content())
    if code == "provider_rate_limited":
        assert error.details["retry_after"] == 7.0


def test_a_provider_s_sentence_is_passed_on_without_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "opaque-value")
    error = classify(http(418, {"error": {"message": "teapot of opaque-value\n  is short and stout"}}))
    assert "teapot of [redacted] is short and stout" in error.message


# -- real clients

Reply = tuple[int, dict[str, str], list[str]]
"""Status, headers, and the pieces of the body; the connection is closed after the last one."""


@dataclass
class Provider:
    replies: list[Reply]
    requests: list[dict[str, Any]] = field(default_factory=list)
    silent: bool = False
    """After the last piece nothing more comes, and the connection stays open."""

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.split("content-length:")[1].split("\r\n")[0])
        self.requests.append(json.loads(await reader.readexactly(length)))
        status, headers, pieces = self.replies[min(len(self.requests), len(self.replies)) - 1]
        lines = [f"HTTP/1.1 {status} X", "connection: close", *(f"{k}: {v}" for k, v in headers.items()), "", ""]
        writer.write("\r\n".join(lines).encode() + "".join(pieces).encode())
        await writer.drain()
        if self.silent:
            await reader.read()
        writer.close()


@asynccontextmanager
async def provider(*replies: Reply, silent: bool = False) -> AsyncIterator[tuple[Provider, str]]:
    it = Provider(list(replies), silent=silent)
    server = await asyncio.start_server(it, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield it, f"http://127.0.0.1:{port}"


def chat(*deltas: dict[str, Any], finish: str | None = "stop") -> Reply:
    chunks = [{"choices": [{"index": 0, "delta": d, "finish_reason": None}]} for d in deltas]
    if finish:
        chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    shared = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return stream(*[(None, shared | c) for c in chunks], *([(None, "[DONE]")] if finish else []))


def stream(*events: tuple[str | None, Any]) -> Reply:
    texts = [
        (f"event: {name}\n" if name else "") + f"data: {d if isinstance(d, str) else json.dumps(d)}\n\n"
        for name, d in events
    ]
    return 200, {"content-type": "text/event-stream"}, texts


CUT_CALL = {"tool_calls": [{"index": 0, "id": "t1", "function": {"name": "read_file", "arguments": '{"path": "a.p'}}]}


def setup(monkeypatch: pytest.MonkeyPatch, kind: str, url: str) -> Any:
    if kind == "anthropic":
        monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
        monkeypatch.setenv("ANTHROPIC_BASE_URL", url)
        return resolve("anthropic:claude-sonnet-5-5")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", f"{url}/v1")
    return resolve("openai:m" if kind == "chat" else "openai-responses:m")


def typed(**event: Any) -> tuple[str, dict[str, Any]]:
    return event["type"], event


MESSAGE = {
    "id": "m",
    "type": "message",
    "role": "assistant",
    "model": "c",
    "content": [],
    "stop_reason": None,
    "stop_sequence": None,
}
ANTHROPIC_CUT = stream(
    typed(type="message_start", message=MESSAGE | {"usage": {"input_tokens": 1, "output_tokens": 1}}),
    typed(type="content_block_start", index=0, content_block={"type": "text", "text": ""}),
    typed(type="content_block_delta", index=0, delta={"type": "text_delta", "text": "The VAT "}),
)
RESPONSE = {
    "id": "r",
    "object": "response",
    "created_at": 1,
    "model": "m",
    "output": [],
    "status": "in_progress",
    "tools": [],
}
ITEM = {"type": "message", "id": "i", "role": "assistant", "status": "in_progress", "content": []}
PIECE = {"item_id": "i", "output_index": 0, "content_index": 0}
RESPONSES_CUT = stream(
    typed(
        type="response.created",
        sequence_number=0,
        response=RESPONSE | {"parallel_tool_calls": True, "tool_choice": "auto"},
    ),
    typed(type="response.output_item.added", sequence_number=1, output_index=0, item=ITEM),
    typed(type="response.output_text.delta", sequence_number=2, delta="The VAT ", logprobs=[], **PIECE),
)


@pytest.mark.parametrize(
    ("kind", "reply"),
    [
        ("chat", chat({"role": "assistant", "content": "The VAT "}, finish=None)),
        ("chat", chat(CUT_CALL, finish=None)),
        ("chat", (200, {"content-type": "text/event-stream"}, ["data: {not json\n\n"])),
        ("anthropic", ANTHROPIC_CUT),
        ("responses", RESPONSES_CUT),
    ],
    ids=["bad115-chat", "bad115-chat-call", "bad115-garbage", "bad115-anthropic", "bad115-responses"],
)
async def test_a_stream_that_is_cut_is_an_error_and_no_call_of_it_is_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str, reply: Reply
) -> None:
    unwrap = fakes.Unwrap()
    async with provider(reply) as (it, url):
        with pytest.raises(broken.AgentRunError) as caught:
            await fakes.drive(build(setup(monkeypatch, kind, url)), "q", fakes.deps_of(tmp_path), unwrap=unwrap)
    assert classify(caught.value).code == "provider_unavailable"
    assert (unwrap.outcomes, len(it.requests)) == ([], 1)


async def test_without_the_flag_a_cut_answer_would_count(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Mutation control."""
    monkeypatch.setattr(models, "_strict", lambda model: model)
    from reconvene.agents import bounds

    monkeypatch.setattr(bounds, "_says_when_done", lambda model: False)
    async with provider(chat({"role": "assistant", "content": "The VAT "}, finish=None)) as (_, url):
        result = await fakes.drive(build(setup(monkeypatch, "chat", url)), "q", fakes.deps_of(tmp_path))
    assert result.output == "The VAT "


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (
            (
                401,
                {"content-type": "application/json"},
                [json.dumps({"error": {"message": f"Incorrect API key provided: {KEY}"}})],
            ),
            "provider_auth",
        ),
        (
            (429, {"content-type": "application/json", "retry-after": "3"}, ['{"error": {"message": "slow down"}}']),
            "provider_rate_limited",
        ),
        ((503, {}, ["upstream"]), "provider_unavailable"),
        (
            (
                404,
                {"content-type": "application/json"},
                ['{"error": {"message": "no model", "code": "model_not_found"}}'],
            ),
            "model_unknown",
        ),
    ],
    ids=["bad112-auth", "bad113-rate", "bad114-unavailable", "not-found"],
)
async def test_a_refusal_is_classified_after_one_request(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, reply: Reply, code: str
) -> None:
    """The run waits and asks again where people see it; the provider's library does not do so on its own."""
    async with provider(reply) as (it, url):
        with pytest.raises(broken.ModelAPIError) as caught:
            await fakes.drive(build(setup(monkeypatch, "chat", url)), "q", fakes.deps_of(tmp_path))
    error = classify(caught.value)
    assert (error.code, len(it.requests)) == (code, 1)
    assert KEY not in str(error.content())
    assert error.details.get("retry_after") == (3.0 if code == "provider_rate_limited" else None)


async def test_a_stream_that_stalls_is_cut(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """bad116"""
    reply = chat({"role": "assistant", "content": "The VAT "}, finish=None)
    deps = fakes.deps_of(tmp_path, limits=Limits(model_idle=0.2))
    async with provider(reply, silent=True) as (_, url):
        with pytest.raises(broken.ModelAPIError) as caught:
            await fakes.drive(build(setup(monkeypatch, "chat", url)), "q", deps)
    assert classify(caught.value).code == "provider_unavailable"


async def test_a_provider_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(broken.ModelAPIError) as caught:
        await fakes.drive(build(setup(monkeypatch, "chat", "http://127.0.0.1:9")), "q", fakes.deps_of(tmp_path))
    assert classify(caught.value).code == "provider_unavailable"


async def test_a_whole_run_over_http(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\n")
    calling = {"name": "read_file", "arguments": '{"path": "a.py"}'}
    call = {"tool_calls": [{"index": 0, "id": "t1", "function": calling}]}
    async with provider(chat(call, finish="tool_calls"), chat({"content": "It is 1 (`a.py:1`)."})) as (it, url):
        result = await fakes.drive(build(setup(monkeypatch, "chat", url)), "What is x?", fakes.deps_of(tmp_path))
    assert result.output == "It is 1 (`a.py:1`)."
    names = {t["function"]["name"] for t in it.requests[0]["tools"]}
    assert names == {"search", "read_file", "repo_map", "symbol", "ask_user", "create_plan", "update_code", "explore"}
    assert it.requests[1]["messages"][-1]["content"].startswith("## a.py:1-1\n1| x = 1")
