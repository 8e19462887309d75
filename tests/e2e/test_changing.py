"""A change of code over the real provider path and real servers: by the page part by part, and by a plain client with y, n and f."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from model_provider import Provider, do, say
from playwright.async_api import BrowserContext, expect
from real_server import Server
from shown import ask, at, ended, opened, same_as_log
from websockets.asyncio.client import connect

from reconvene.agents.edit_format import Create, Edit, Replace, render

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

LINES = "".join(f"line_{n} = {n}\n" for n in range(30))


def coder(name: str, mark: str) -> str:
    blocks = (Replace(("line_3 = 3",), (f"line_3 = '{mark}'",)), Replace(("line_25 = 25",), (f"line_25 = '{mark}'",)))
    return render([Edit(f"{name}.py", blocks), Create(f"{name}_new.py", (f"# {mark}",))])


def scripted(provider: Provider, server: Server, name: str) -> None:
    (server.root / f"{name}.py").write_text(LINES)
    provider.on(
        f"change {name}", do(("update_code", {"task": f"Change {name}", "files": [f"{name}.py"]})), say("Written.")
    )
    provider.on(f"The task:\nChange {name}", say(coder(name, "first")))
    provider.on(f"The person read your change and says:\n\nsecond {name}", say(coder(name, "second")))


async def test_the_page_accepts_part_by_part_and_takes_back(
    context: BrowserContext, server: Server, provider: Provider
) -> None:
    scripted(provider, server, "paged")
    page = await opened(context, server)
    await ask(page, "change paged")
    await expect(at(page, "hunk")).to_have_count(3)
    await at(page, "say-what").click()
    await at(page, "what-to-change").fill("second paged")
    await at(page, "what-to-change").press("Enter")
    await expect(at(page, "diff")).to_have_count(2)
    second = at(page, "diff").nth(1)
    await second.get_by_test_id("hunk").nth(1).get_by_role("checkbox").uncheck()
    assert (server.root / "paged.py").read_text() == LINES
    server.kill()  # what waits for a person outlives the server
    server.start()
    await second.get_by_test_id("accept").click()
    await ended(page)
    await expect(second.get_by_test_id("verdict")).to_contain_text("2 of 3 parts accepted · you, here")
    assert (server.root / "paged.py").read_text() == LINES.replace("line_3 = 3\n", "line_3 = 'second'\n")
    assert (server.root / "paged_new.py").read_text() == "# second\n"
    await same_as_log(page, server)
    await second.get_by_test_id("undo").click()
    await expect(second.get_by_test_id("written")).to_have_text("Taken back")
    assert (server.root / "paged.py").read_text() == LINES and not (server.root / "paged_new.py").exists()


async def test_a_plain_client_decides_with_f_and_y_over_a_restart(server: Server, provider: Provider) -> None:
    scripted(provider, server, "plain")
    first = {"type": "default", "content": "change plain", "config": {"session_id": None}}

    async def until(socket: Any, kind: str, text: str = "") -> list[dict[str, Any]]:
        got: list[dict[str, Any]] = []
        async with asyncio.timeout(60):
            while True:
                got.append(json.loads(await socket.recv()))
                if got[-1]["type"] == kind and text in str(got[-1]["content"]):
                    return got

    def opening() -> Any:
        token = (server.data / "owner.token").read_text().strip()
        headers = {"Authorization": f"Bearer {token}"}
        return connect(f"ws://127.0.0.1:{server.port}/ws", additional_headers=headers, proxy=None)

    async with opening() as socket:
        await socket.send(json.dumps(first))
        got = await until(socket, "confirmation")
        first["config"] = {"session_id": got[0]["content"]["session_id"]}
        [diff] = [f["content"] for f in got if f["type"] == "diff"]
        assert "+line_3 = 'first'" in diff and "+++ b/plain_new.py" in diff
        await socket.send(json.dumps({"type": "confirmation", "content": "F"}))
        await until(socket, "question")
        await socket.send(json.dumps({"type": "question", "content": "second plain"}))
        await until(socket, "diff", "second")
    server.kill()
    server.start()
    async with opening() as socket:
        await socket.send(json.dumps(first))
        await until(socket, "confirmation", "plain.py")
        assert (server.root / "plain.py").read_text() == LINES
        await socket.send(json.dumps({"type": "confirmation", "content": "y"}))
        got = await until(socket, "completed")
    logs = [f["content"] for f in got if f["type"] == "log"]
    assert "Written." in logs and any(line.startswith("[applied] plain.py, plain_new.py") for line in logs)
    assert (server.root / "plain.py").read_text() == LINES.replace("= 3\n", "= 'second'\n").replace(
        "= 25\n", "= 'second'\n"
    )
    assert provider.requests["change plain", 0] == 1 and provider.requests["change plain", 1] == 1
