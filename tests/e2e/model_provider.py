"""A model provider on loopback (Chat Completions, streamed) that says what a test tells it, and stops where the test wants it to."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

MODEL = "openai:scripted"


class Hold(asyncio.Event):
    """Where the model stops in the middle of what it says, until `set`."""


@dataclass(frozen=True)
class Say:
    """A text, streamed word by word."""

    pieces: tuple[str | Hold, ...]

    @property
    def text(self) -> str:
        return "".join(piece for piece in self.pieces if isinstance(piece, str))


@dataclass(frozen=True)
class Do:
    """Tool calls to be made together: (name, arguments). What holds comes before all of them."""

    calls: tuple[tuple[str, dict[str, Any]], ...]
    holds: tuple[Hold, ...] = ()


@dataclass(frozen=True)
class Refuse:
    """An HTTP error."""

    status: int
    message: str = "not today"


Move = Say | Do | Refuse


def say(*pieces: str | Hold) -> Say:
    return Say(pieces)


def do(*calls: tuple[str, dict[str, Any]] | Hold) -> Do:
    return Do(tuple(c for c in calls if not isinstance(c, Hold)), tuple(c for c in calls if isinstance(c, Hold)))


@dataclass
class Provider:
    """`on(prompt, *moves)`: what it answers in a turn of this prompt, request by request. It keeps nothing of a conversation: which
    move is next follows from the messages it is sent, so that a run that begins anew is answered the same."""

    scripts: dict[str, tuple[Move, ...]] = field(default_factory=dict)
    requests: Counter[tuple[str, int]] = field(default_factory=Counter)
    """How often each (prompt, move) was asked for."""
    port: int = 0

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        self._server.close()

    @property
    def environ(self) -> dict[str, str]:
        return {"OPENAI_BASE_URL": f"http://127.0.0.1:{self.port}/v1", "OPENAI_API_KEY": "of-a-test"}

    def on(self, prompt: str, *moves: Move) -> None:
        self.scripts[prompt] = moves

    def _moves(self, prompt: str) -> tuple[Move, ...]:
        """Of this prompt, or of one that it begins with: what a sub-agent is asked goes on with files."""
        begun = (moves for known, moves in self.scripts.items() if prompt.startswith(known))
        return self.scripts.get(prompt) or next(begun, (say(f"You said: {prompt}"),))

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            length = re.search(r"(?im)^content-length: *(\d+)", head)
            request = json.loads(await reader.readexactly(int(length[1]))) if length else {}
            prompt, step = place(request["messages"])
            self.requests[prompt, step] += 1
            moves = self._moves(prompt)
            move = moves[min(step, len(moves) - 1)]
            if isinstance(move, Refuse):
                body = json.dumps({"error": {"message": move.message}}).encode()
                writer.write(
                    b"HTTP/1.1 %d No\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
                    % (move.status, len(body), body)
                )
            else:
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
                async for delta, reason in _deltas(move, step):
                    choice = {"index": 0, "delta": delta, "finish_reason": reason}
                    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": "scripted"}
                    writer.write(f"data: {json.dumps({**chunk, 'choices': [choice]})}\n\n".encode())
                    await writer.drain()
                usage = {"prompt_tokens": 120, "completion_tokens": 30, "total_tokens": 150}
                writer.write(f"data: {json.dumps({**chunk, 'choices': [], 'usage': usage})}\n\n".encode())
                writer.write(b"data: [DONE]\n\n")
            await writer.drain()
        writer.close()


async def _deltas(move: Say | Do, step: int) -> AsyncIterator[tuple[dict[str, Any], str | None]]:
    if isinstance(move, Do):
        calls = [
            {
                "index": i,
                "id": f"call_{step}_{i}",
                "type": "function",
                "function": {"name": n, "arguments": json.dumps(a)},
            }
            for i, (n, a) in enumerate(move.calls)
        ]
        yield {"role": "assistant", "content": ""}, None
        for hold in move.holds:
            await hold.wait()
        yield {"tool_calls": calls}, None
        yield {}, "tool_calls"
        return
    for piece in move.pieces:
        if isinstance(piece, Hold):
            await piece.wait()
            continue
        for word in re.findall(r"\s*\S+\s*", piece):
            yield {"role": "assistant", "content": word}, None
    yield {}, "stop"


def place(messages: Sequence[dict[str, Any]]) -> tuple[str, int]:
    """The last thing a person said, and how many responses came after it."""
    last = max(i for i, message in enumerate(messages) if message["role"] == "user")
    content = messages[last]["content"]
    text = content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
    return text, sum(message["role"] == "assistant" for message in messages[last:])
