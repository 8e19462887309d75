"""Requests made up from our own description of the HTTP API: whatever they hold, the server never answers 5xx.

The short test tries each operation with a handful of odd values; the long one lets schemathesis make them up, for `HTTP_SECONDS`.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import time
import urllib.parse
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from real_server import Server
from serving import Serving, serving

from proof import report
from reconvene.protocol.cursor import Cursor
from reconvene.server import events_http

TREE = Path(__file__).parents[2]
SCHEMATHESIS = TREE / "build" / "proof" / "bin" / "schemathesis"
"""Installed by `make security`."""
SECONDS = int(os.environ.get("HTTP_SECONDS", "600"))
LEFT_OUT = ("/api/stop", "/api/sign-out")
"""They end what the test stands on. Their own tests are in tests/server."""
ODD: tuple[Any, ...] = (None, "", "\0", "\ud800", "../../etc/passwd", -1, 10**40, True, [], {})
ODD_TEXT = ("%00", "%ff", "..%2f..", "a" * 3000, "-1", "9" * 20, "s_" + "a" * 22, "%s")
PROOF = "HTTP: requests made up from OpenAPI"


def operations(schema: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in schema["paths"].items():
        if path not in LEFT_OUT:
            for method, operation in methods.items():
                yield method.upper(), path, operation


def bodies(schema: dict[str, Any], operation: dict[str, Any]) -> Iterator[bytes]:
    """Odd ones, and such as have the fields that are described, with odd values."""
    described = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    if "$ref" in described:
        described = schema["components"]["schemas"][described["$ref"].rpartition("/")[2]]
    yield from (b"", b"null", b"[]", b"{", b'{"a":1,"a":2}', b"[" * 100, b"\xff")
    for name in described.get("properties", {"type": {}, "content": {}, "id": {}}):
        for value in ODD:
            yield json.dumps({name: value}).encode()


async def failures(server: Serving) -> tuple[int, list[str]]:
    """How many requests were made, and those that were answered 5xx (503 of a server that is starting aside)."""
    schema = (await server.http("GET", "/api/openapi.json")).json
    made, failed = 0, []
    for method, path, operation in operations(schema):
        names = operation.get("parameters", [])
        for value in ODD_TEXT if names else ODD_TEXT[-1:]:
            filled = path
            for parameter in names:
                if parameter["in"] == "path":
                    filled = filled.replace("{" + parameter["name"] + "}", value)
            asked = "&".join(f"{p['name']}={value}" for p in names if p["in"] == "query")
            tried = [b"{}"] if method in ("POST", "PATCH", "PUT") else [None]
            if value == ODD_TEXT[-1] and method in ("POST", "PATCH", "PUT"):
                tried = list(bodies(schema, operation))
            for body in tried:
                target = urllib.parse.quote(f"{filled}?{asked}", safe="/?&=%")
                answer = await server.http(method, target, body, headers={"Content-Type": "application/json"})
                made += 1
                if answer.status >= 500 and answer.json.get("code") != "starting":
                    failed.append(f"{method} {target} {body!r}: {answer.status} {answer.body[:200]!r}")
    return made, failed


async def test_odd_values_in_every_place_are_answered(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        made, failed = await failures(server)
    print(f"{made} requests")
    assert failed == [] and made > 300


async def test_a_route_that_trusts_its_text_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: places in a log are read without a look at their form."""

    def trusting(text: str) -> Any:
        return Cursor("e", int(text))

    monkeypatch.setattr(events_http.Cursor, "parse", trusting)
    async with serving(tmp_path) as server:
        session = (await server.http("POST", "/api/sessions", {})).json["session_id"]
        answer = await server.http("GET", f"/api/sessions/{session}/events?after=%25s")
    assert answer.status == 500
    report(PROOF, control="a route that reads a place in the log without a look at its form answers 500")


def answers(report_folder: Path) -> Counter[int]:
    """Statuses of all answers in schemathesis' own record."""

    def found(value: Any) -> Iterator[int]:
        if isinstance(value, dict):
            if isinstance(value.get("status_code"), int):
                yield value["status_code"]
            for one in value.values():
                yield from found(one)
        elif isinstance(value, list):
            for one in value:
                yield from found(one)

    (record,) = report_folder.glob("*.ndjson")
    return Counter(status for line in record.read_text().splitlines() for status in found(json.loads(line)))


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_no_made_up_request_is_a_server_error(tmp_path: Path) -> None:
    assert SCHEMATHESIS.exists(), "make security installs what this needs"
    seed = int(os.environ.get("SEED", random.randrange(2**31)))
    print(f"\nseed {seed}")
    began = time.monotonic()
    server = Server(tmp_path)
    server.start()
    assert server.process is not None
    pid = server.process.pid
    try:
        for n in range(3):  # sessions with something in them
            session = server.call("POST", "/api/sessions", {})["session_id"]
            frame = {"type": "default", "id": f"m{n}", "content": "Where is sweep?"}
            server.call("POST", f"/api/sessions/{session}/messages", frame)
        token = (server.data / "owner.token").read_text().strip()
        program = [
            str(SCHEMATHESIS), "run", f"{server.origin}/api/openapi.json", "--checks", "not_a_server_error", "--seed", str(seed),
            "--header", f"Authorization: Bearer {token}", "--continue-on-failure", "--max-time", str(SECONDS), "--request-timeout", "60",
            "--exclude-path-regex", "|".join(f"^{path}$" for path in LEFT_OUT), "--report", "ndjson",
            "--report-dir", str(tmp_path / "report"), "--no-color", "--suppress-health-check", "all",
        ]  # fmt: skip
        environ = os.environ | {"NO_PROXY": "localhost,127.0.0.1", "no_proxy": "localhost,127.0.0.1"}
        done = subprocess.run(program, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
        (tmp_path / "said").write_text(done.stdout + done.stderr)
        statuses = answers(tmp_path / "report")
        print(done.stdout[-1500:], dict(statuses))
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
        assert server.is_up and server.process.pid == pid
        assert server.call("GET", "/api/me")["name"]
        description = server.call("GET", "/api/openapi.json")
        errors = (tmp_path / "server.err").read_text()
        assert "Traceback" not in errors, errors[-3000:]
    finally:
        server.close()
    made, taken = sum(statuses.values()), sum(n for status, n in statuses.items() if status < 300)
    tested = list(operations(description))
    assert made > 500 and not any(status >= 500 for status in statuses)
    report(
        PROOF,
        f"{made:,} requests made up for {len(tested)} operations, {taken:,} of them taken: "
        "0 server errors, 0 tracebacks, the server stays up",
        seed=seed,
        seconds=time.monotonic() - began,
    )
