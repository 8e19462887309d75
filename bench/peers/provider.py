"""The one scripted model that every server is given: an OpenAI-compatible provider on loopback, Chat Completions and Responses.

By the first word that it knows in the last prompt: `SLOW` is 240 tokens, twenty a second; `LONG` 10,000 tokens as fast as they are taken;
`TOOL` a shell command that begins, sleeps, and ends, with a line in a file for both; anything else is two words.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

SLOW, PACE, LONG = 240, 0.05, 10_000
TOOL_SECONDS = 8
MODEL = "scripted"
Piece = str | dict[str, Any]


class Provider:
    """Serves in a thread of its own, so that nothing a test does holds it up."""

    def __init__(self) -> None:
        self.requests: list[tuple[float, str]] = []
        """When each prompt's answer was asked for, and its first word."""
        self.said: dict[str, int] = {}
        """Tokens that were sent of the newest answer to a prompt, by the prompt."""
        self.marks = Path("marks")
        """The file in which the shell command leaves its lines."""
        self.port = 0
        ready = threading.Event()
        self._ready = ready.set
        threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True).start()
        ready.wait()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def command(self) -> str:
        return f"echo begun >> {self.marks}; sleep {TOOL_SECONDS}; echo ended >> {self.marks}"

    def since(self, moment: float) -> int:
        """Requests for an answer since then; what a server asks for a title or a summary does not count."""
        return sum(at >= moment and word in ("SLOW", "TOOL", "LONG") for at, word in self.requests)

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready()
        async with server:
            await server.serve_forever()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            length = re.search(r"(?im)^content-length: *(\d+)", head)
            body = json.loads(await reader.readexactly(int(length[1]))) if length else {}
            path = head.split(" ", 2)[1]
            if path.endswith("/models"):
                data = json.dumps({"object": "list", "data": [{"id": MODEL, "object": "model"}]}).encode()
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n")
                writer.write(b"content-length: %d\r\n\r\n%b" % (len(data), data))
            elif path.endswith("/responses"):
                await self._responses(body, _stream(writer))
            elif body.get("stream"):
                await self._chat(body, _stream(writer))
            else:
                message = {"role": "assistant", "content": "two words"}
                data = json.dumps(
                    {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], **_BASE}
                ).encode()
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n")
                writer.write(b"content-length: %d\r\n\r\n%b" % (len(data), data))
            await writer.drain()
        writer.close()

    async def _pieces(self, prompt: str, called: bool, tools: dict[str, Any]) -> AsyncIterator[Piece]:
        """What is said: tokens, or one tool call."""
        found = re.search(r"\b(SLOW|TOOL|LONG)\b[^\n]*", prompt)
        word = found[1] if found and tools else "other"
        self.requests.append((time.monotonic(), word))
        if word == "TOOL" and not called:
            yield _call(self.command, tools)
            return
        if word == "TOOL" or found is None or word == "other":
            yield "all "
            yield "done"
            return
        self.said[found[0]] = 0
        for n in range(SLOW if word == "SLOW" else LONG):
            yield f"tok{n} "
            self.said[found[0]] = n + 1
            if word == "SLOW":
                await asyncio.sleep(PACE)

    async def _chat(self, body: dict[str, Any], send: Callable[[dict[str, Any] | None, str], Any]) -> None:
        messages = body["messages"]
        tools = {t["function"]["name"]: t["function"] for t in body.get("tools", [])} or {"any": {}}
        if any(mark in json.dumps(messages[0]) for mark in ("title", "Title")) and not body.get("tools"):
            tools = {}
        last = max(n for n, m in enumerate(messages) if m["role"] == "user")
        called = any(m["role"] == "tool" for m in messages[last:])

        async def chunk(delta: dict[str, Any], reason: str | None = None) -> None:
            await send({**_BASE, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}, "")

        reason = "stop"
        await chunk({"role": "assistant", "content": ""})
        async for piece in self._pieces(_text(messages[last]["content"]), called, tools):
            if isinstance(piece, str):
                await chunk({"content": piece})
            else:
                function = {"name": piece["name"], "arguments": json.dumps(piece["arguments"])}
                await chunk({"tool_calls": [{"index": 0, "id": piece["id"], "type": "function", "function": function}]})
                reason = "tool_calls"
        await chunk({}, reason)
        usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
        await send({**_BASE, "choices": [], "usage": usage}, "")
        await send(None, "")

    async def _responses(self, body: dict[str, Any], send: Callable[[dict[str, Any] | None, str], Any]) -> None:
        items = body["input"]
        tools = {t.get("name", t.get("type", "")): t for t in body.get("tools", [])} or {"any": {}}
        # What a client adds about the place it runs in comes as a user's message too.
        asked = [n for n, i in enumerate(items) if i.get("role") == "user" and not _text(i["content"]).startswith("<")]
        last = asked[-1] if asked else 0
        called = any(str(i.get("type", "")).endswith("_output") for i in items[last:])
        id, text, calls = f"resp_{time.monotonic_ns()}", "", []

        async def event(type: str, **more: Any) -> None:
            await send({"type": type, **more}, type)

        message = {"type": "message", "id": f"msg_{id}", "role": "assistant"}
        await event("response.created", response={"id": id})
        async for piece in self._pieces(_text(items[last].get("content", "")), called, tools):
            if isinstance(piece, str):
                if not text:
                    await event("response.output_item.added", output_index=0, item={**message, "content": []})
                text += piece
                where = {"item_id": message["id"], "output_index": 0, "content_index": 0}
                await event("response.output_text.delta", **where, delta=piece)
            else:
                call = {"type": "function_call", "id": f"fc_{id}", "call_id": piece["id"], "name": piece["name"]}
                calls.append({**call, "arguments": json.dumps(piece["arguments"])})
        if text:
            done = {**message, "content": [{"type": "output_text", "text": text}]}
            await event("response.output_item.done", output_index=0, item=done)
        for call in calls:
            await event("response.output_item.done", output_index=0, item=call)
        usage = {
            "input_tokens": 10,
            "input_tokens_details": None,
            "output_tokens": 5,
            "output_tokens_details": None,
            "total_tokens": 15,
        }
        await event("response.completed", response={"id": id, "usage": usage})


_BASE = {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": MODEL}


def _stream(writer: asyncio.StreamWriter) -> Callable[[dict[str, Any] | None, str], Any]:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")

    async def send(value: dict[str, Any] | None, event: str) -> None:
        name = f"event: {event}\n" if event else ""
        writer.write(f"{name}data: {json.dumps(value) if value else '[DONE]'}\n\n".encode())
        await writer.drain()

    return send


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return " ".join(part.get("text", "") for part in content if isinstance(part, dict))


SHELLS = ("run_command", "bash", "exec_command", "shell_command", "shell", "local_shell", "terminal")


def _call(command: str, tools: dict[str, Any]) -> dict[str, Any]:
    """The shell of this server, in its own words."""
    name = next((name for name in SHELLS if name in tools), next(iter(tools)))
    described = tools[name].get("parameters", {})
    fields = described.get("properties", {})
    whole: dict[str, Any] = {"command": command, "cmd": command, "description": "two lines"}
    if fields.get("command", {}).get("type") == "array":
        whole["command"] = [command] if "shell" in fields else ["sh", "-c", command]
        whole["shell"] = True
    arguments = {field: whole[field] for field in whole if field in fields}
    return {"name": name, "arguments": arguments, "id": f"call_{time.monotonic_ns()}"}
