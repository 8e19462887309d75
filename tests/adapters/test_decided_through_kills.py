"""What a person answers and decides in other people's clients, while the server is killed between the question and the answer.

The model is a script on loopback: an agent that asks back, changes two files and says so. What is counted is what must happen once.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from acp import RequestError, spawn_agent_process, text_block
from acp import schema as acp
from model_provider import MODEL, Provider, do, say
from real import PEERS, Place, node

from reconvene.agents.edit_format import Create, Edit, Replace, render

ASKED, TASK, ADDED = "Give the hub a name", "Name the hub", "Add a list of names"
CHANGED = "class Hub:\n    name = 'centre'\n"
HUB = (Replace(("class Hub:",), ("class Hub:", "    name = 'centre'")),)


@pytest_asyncio.fixture
async def provider() -> AsyncIterator[Provider]:
    made = Provider()
    await made.start()
    made.on(
        ASKED,
        do(("ask_user", {"question": "Which name?", "options": ["centre", "middle"]})),
        do(("update_code", {"task": TASK, "files": ["src/hub.py"]})),
        say("It has a name now."),
    )
    made.on(f"The task:\n{TASK}", say(render([Edit("src/hub.py", HUB), Create("src/names.py", ("NAMES = 1",))])))
    made.on(ADDED, do(("update_code", {"task": ADDED, "files": ["src/hub.py"]})), say("There it is."))
    made.on(f"The task:\n{ADDED}", say(render([Create("src/names.py", ("NAMES = 1",))])))
    yield made
    await made.close()


@pytest.fixture
def place(tmp_path: Path, provider: Provider) -> Any:
    made = Place(tmp_path)
    made.environ |= {"RECONVENE_MODEL": MODEL, **provider.environ}
    yield made
    made.close()


def asked_once(provider: Provider) -> None:
    """A response that was in the log when the server died is not asked for again."""
    again = {
        key: times for key, times in provider.requests.items() if times > 1 and key[0].startswith((ASKED, "The task"))
    }
    assert not again, again
    assert any(prompt.startswith("The task") for prompt, _ in provider.requests)


class Person:
    """An editor's person: the server dies whenever something is asked, before it is answered."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self.asked: list[str] = []
        self.updates: list[Any] = []
        self.kills = 0

    def on_connect(self, connection: Any) -> None:
        pass

    async def session_update(self, session_id: str, update: Any, **_: Any) -> None:
        self.updates.append(update)

    async def create_elicitation(self, message: str, mode: Any, **_: Any) -> Any:
        self.asked.append(message)
        self._kill()
        return acp.AcceptElicitationResponse(action="accept", content={"answer": "centre"})

    async def request_permission(self, session_id: str, tool_call: Any, options: Any, **_: Any) -> Any:
        self.asked.append(tool_call.title)
        wanted = "accept" if "hub" in tool_call.title else "reject"
        if wanted == "accept":
            self._kill()
        return acp.RequestPermissionResponse(outcome=acp.AllowedOutcome(outcome="selected", option_id=wanted))

    def _kill(self) -> None:
        self._place.kill()
        self.kills += 1


@pytest.mark.timeout(300)
async def test_an_editors_person_answers_and_decides_while_the_server_is_dead(place: Place, provider: Provider) -> None:
    person = Person(place)
    can = acp.ClientCapabilities(elicitation=acp.ElicitationCapabilities(form=acp.ElicitationFormCapabilities()))
    async with (
        asyncio.timeout(240),
        spawn_agent_process(person, *place.command("acp"), env=place.environ, use_unstable_protocol=True) as (  # type: ignore[arg-type]
            editor,
            _,
        ),
    ):
        await editor.initialize(1, client_capabilities=can)
        session = (await editor.new_session(cwd=str(place.root), mcp_servers=[])).session_id
        done = await editor.prompt(session_id=session, prompt=[text_block(ASKED)])
        assert done.stop_reason == "end_turn" and person.kills == 2
        assert person.asked == ["Which name?", "Edit src/hub.py", "Create src/names.py"], "each is asked once"
        assert (place.root / "src/hub.py").read_text().startswith(CHANGED)
        assert not (place.root / "src/names.py").exists()
        asked_once(provider)

        # Another editor, that never saw it: the change is there with what became of it, and nothing is asked.
        before = len(person.updates)
        await editor.load_session(cwd=str(place.root), session_id=session, mcp_servers=[])
        again = person.updates[before:]
        (edit,) = [u for u in again if u.session_update == "tool_call" and u.title == "Edit src/hub.py"]
        (shown,) = [part for part in edit.content if part.type == "diff"]
        assert shown.new_text.startswith(CHANGED) and shown.old_text.startswith("class Hub:\n    def")
        assert shown.path == str(place.root / "src/hub.py") and edit.locations[0].line == 1
        became = {u.tool_call_id: u.status for u in again if u.session_update == "tool_call_update"}
        assert became[edit.tool_call_id] == "completed" and "failed" in became.values()
        assert len(person.asked) == 3

        # In the mode that accepts edits nobody is asked, also by a server that did not see it chosen.
        with pytest.raises(RequestError):
            await editor.set_session_mode(session_id=session, mode_id="of another agent")
        await editor.set_session_mode(session_id=session, mode_id="accept")
        place.kill()
        await editor.prompt(session_id=session, prompt=[text_block(ADDED)])
        assert len(person.asked) == 3 and (place.root / "src/names.py").exists()


@pytest.mark.timeout(300)
async def test_a_front_ends_person_answers_and_decides_on_parts_after_the_server_died(
    place: Place, provider: Provider
) -> None:
    place.serve()
    command = [node(), str(PEERS / "agui-decide.mjs"), place.token, "a-thread", ASKED]
    peer = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env=place.environ, limit=2**24
    )
    assert peer.stdin is not None and peer.stdout is not None

    async def tell(**said: Any) -> dict[str, Any]:
        """Start the front end's next run, and wait for its end."""
        peer.stdin.write(json.dumps({"url": f"{place.url}/agui", **said}).encode() + b"\n")  # type: ignore[union-attr]
        line = await peer.stdout.readline()  # type: ignore[union-attr]
        told: dict[str, Any] = json.loads(line)
        return told

    try:
        async with asyncio.timeout(240):
            first = await tell()
            (question,) = first["outcome"]["interrupts"]
            assert question["message"] == "Which name?" and question["responseSchema"]["enum"] == ["centre", "middle"]
            second = await tell(resume=[{"interruptId": question["id"], "status": "resolved", "payload": "centre"}])
            (change,) = second["outcome"]["interrupts"]
            assert change["reason"] == "reconvene:diff" and "src/hub.py" in change["message"]
            (diff,) = [content for kind, content in second["activities"] if kind == "DIFF"]
            (hunk,) = [h["id"] for file in diff["files"] if file["path"] == "src/hub.py" for h in file["hunks"]]
            assert "+    name = 'centre'" in diff["unified"]
            await asyncio.to_thread(place.serve, place.kill())
            decided = {"verdict": "accept", "hunks": [hunk]}
            third = await tell(resume=[{"interruptId": change["id"], "status": "resolved", "payload": decided}])
            assert third["outcome"] == {"type": "success"}
            assert third["messages"][-1]["content"] == "It has a name now."
            assert any(kind == "APPLIED" for kind, _ in third["activities"])
            assert await peer.wait() == 0
    finally:
        if peer.returncode is None:
            peer.kill()
            await peer.wait()
    assert (place.root / "src/hub.py").read_text().startswith(CHANGED)
    assert not (place.root / "src/names.py").exists(), "the part that was not named is rejected"
    asked_once(provider)
