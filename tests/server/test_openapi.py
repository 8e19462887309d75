"""The description of the HTTP API is true: each route is called with its example, and answers as is described."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from jsonschema import Draft202012Validator
from serving import Answer, Serving, serving

from reconvene.index import Indexes
from reconvene.server.examples import EXAMPLES, HASH, PROBLEM, ROOT, SESSION_ID
from reconvene.server.indexing import Indexing
from reconvene.sessions.kept import HELD
from reconvene.sessions.rows import private
from reconvene.workspace.contents import Contents

Json = dict[str, Any]
LAST = ("DELETE /api/sessions/{session_id}", "POST /api/stop")
"""What ends the things that others need."""


async def described(server: Serving) -> Json:
    document: Json = (await server.http("GET", "/api/openapi.json")).json
    return document


def operations(document: Json) -> Iterator[tuple[str, Json]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def wrong_with(document: Json, schema: Json, value: Any) -> list[str]:
    """What of a value is not as a schema of the document says."""
    validator = Draft202012Validator({**schema, "components": document["components"]})
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]


async def test_every_route_has_an_example_of_each_request_and_answer(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        document = await described(server)
        assert {name for name, _ in operations(document)} == set(EXAMPLES)
        unsaid, wrong = [], []
        for name, operation in operations(document):
            parts = [p for p in operation.get("parameters", ()) if p["required"] and "example" not in p]
            unsaid += [f"{name}: {p['name']}" for p in parts]
            parameters = [p for p in operation.get("parameters", ()) if "example" in p]
            wrong += [(name, wrong_with(document, p["schema"], p["example"])) for p in parameters]
            bodies = [operation["requestBody"]] if "requestBody" in operation else []
            bodies += [response for status, response in operation["responses"].items() if status != "304"]
            for body in bodies:
                for media, content in body.get("content", {}).items():
                    if name != "GET /api/protocol.json":  # that is a schema itself
                        if "example" not in content:
                            unsaid.append(f"{name}: {media}")
                        else:
                            wrong.append((name, wrong_with(document, content["schema"], content["example"])))
        assert unsaid == []
        assert [(name, what) for name, what in wrong if what] == []


def replaced(value: Any, real: dict[str, Any]) -> Any:
    """The example with what this server has in place of what an example can only make up."""
    if isinstance(value, dict):
        return {name: replaced(inner, real) for name, inner in value.items()}
    return real.get(value, value) if isinstance(value, str) else value


async def call(server: Serving, name: str, real: dict[str, Any]) -> Answer:
    method, path = name.split(" ")
    example = replaced(EXAMPLES[name], real)
    for parameter, value in {"session_id": real[SESSION_ID], **example.get("path", {})}.items():
        path = path.replace(f"{{{parameter}}}", value)
    if query := example.get("query"):
        path += f"?{urlencode({k: str(v).lower() if isinstance(v, bool) else v for k, v in query.items()})}"
    return await server.http(method, path, example.get("body"))


def fits(document: Json, operation: Json, answer: Answer) -> list[str]:
    """What of an answer is not as its operation says."""
    response = operation["responses"].get(str(answer.status))
    if response is None:
        return [f"status {answer.status}: {answer.body[:200]!r}"]
    content, media = response.get("content", {}), (answer.header("content-type") or "").split(";")[0]
    if not content:
        return ["an answer without a body has one"] if answer.body else []
    if media not in content:
        return [f"{media} is not in {sorted(content)}"]
    return wrong_with(document, content[media].get("schema", {}), answer.json) if media == "application/json" else []


async def test_every_route_answers_its_example_as_described(tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    (shop / "src").mkdir(parents=True)
    (shop / "src/price.py").write_text("def round_price(price):\n    return round(price, 2)\n")
    async with serving(tmp_path) as server:
        indexes = Indexes(tmp_path / "data", server.services.settings.limits, kept=True, alive=lambda root: False)
        server.services.indexing = Indexing(server.services, indexes)
        try:
            document = await described(server)
            assert (await server.http("POST", "/api/roots", {"path": str(shop)})).status == 201
            workspace = server.sessions.roots.find("shop")
            assert workspace is not None
            await (await indexes.get(workspace)).refresh()
            made = (await server.http("POST", "/api/sessions", {"root_directory": "shop"})).json["session_id"]
            kept = Contents(server.data_dir / "contents").put(b"def round_price(price): ...\n")
            await server.append(made, private(HELD, {"contents": [kept]}, run_id="r0", stateful=False))
            real = {SESSION_ID: made, HASH: kept, ROOT: str(shop)}
            names = [name for name, _ in operations(document)]
            wrong = {}
            for name in [*(n for n in names if n not in LAST), *LAST]:
                answer = await call(server, name, real)
                wrong[name] = fits(document, dict(operations(document))[name], answer)
                if name == "POST /api/sessions/{session_id}/links":
                    real["v_1"] = answer.json["id"]
            assert {name: what for name, what in wrong.items() if what} == {}
        finally:
            await indexes.close()


async def test_what_is_refused_is_a_problem_as_described(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        document = await described(server)
        for name, operation in operations(document):
            if "{session_id}" not in name:
                continue
            refused = await call(server, name, {SESSION_ID: "s_" + "0" * 22})
            assert refused.status in (400, 404), (name, refused.body)
            assert refused.header("content-type") == "application/problem+json", name
            schema = operation["responses"]["default"]["content"]["application/problem+json"]["schema"]
            assert wrong_with(document, schema, refused.json) == [], name
            assert set(refused.json) == set(PROBLEM)


@pytest.mark.parametrize("breaks", ["answer", "body"])
def test_mutation_an_example_that_is_not_true_is_seen(breaks: str) -> None:
    schema: Json = {"type": "object", "required": ["a"], "properties": {"a": {"$ref": "#/components/schemas/A"}}}
    document = {"components": {"schemas": {"A": {"type": "integer"}}}}
    assert wrong_with(document, schema, {"a": 1}) == []
    assert wrong_with(document, schema, {"a": "1"} if breaks == "answer" else {}) != []
    answer = Answer(200, [("content-type", "application/json")], json.dumps({"a": "1"}).encode())
    said = {"responses": {"200": {"content": {"application/json": {"schema": schema}}}}}
    assert fits(document, said, answer)
    assert fits(document, said, Answer(201, [], b"{}"))


async def test_sessions_come_by_pages_each_once(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        made = []
        for number in range(7):
            session = (await server.http("POST", "/api/sessions", {"title": f"Number {number}"})).json["session_id"]
            made.append(session)
        seen: list[str] = []
        path = "/api/sessions?limit=3"
        sizes = []
        while path:
            page = (await server.http("GET", path)).json
            sizes.append(len(page["sessions"]))
            seen += [s["session_id"] for s in page["sessions"]]
            if len(sizes) == 1:  # one that was not shown yet is used meanwhile: it moves before the pages that come
                await server.http("PATCH", f"/api/sessions/{made[0]}", {"pinned": True})
            path = f"/api/sessions?limit=3&after={page['next']}" if page["next"] else ""
        assert len(set(seen)) == len(seen)
        assert set(made) - set(seen) <= {made[0]}
        assert (await server.http("GET", "/api/sessions?limit=7")).json["next"] is None
        whole = (await server.http("GET", "/api/sessions")).json
        assert (len(whole["sessions"]), whole["next"]) == (7, None)
        for after in ("nonsense", "e30", "WzEsMl0", "x" * 201):
            refused = await server.http("GET", f"/api/sessions?after={after}")
            assert refused.json["code"] == "invalid_field", after
