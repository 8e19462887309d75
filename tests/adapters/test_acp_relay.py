"""The editor's bridge without I/O: servers die at every place, and the editor sees each thing once."""

from __future__ import annotations

import random
from typing import Any

import pytest

from reconvene.cli.acp_relay import ALL, ASKS, CURSOR, ID, REPLAY_FROM, Out, Relay

Message = dict[str, Any]


def call(id: int, method: str, **params: Any) -> Message:
    return {"jsonrpc": "2.0", "id": id, "method": method, "params": params}


class Server:
    """A server that keeps a log of numbered updates and forgets its connections when it dies."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.prompts: dict[str, str] = {}
        self.asks: dict[str, Message] = {}
        self.ids = 0
        self.up = False
        self.greeted = False
        self.open: set[str] = set()
        self.waiting: list[tuple[Any, str]] = []
        self.asked: dict[int, str] = {}
        self.answers: list[tuple[str, str]] = []

    def die(self) -> None:
        self.up = self.greeted = False
        self.open.clear()
        self.waiting.clear()
        self.asked.clear()

    def updates(self, after: int) -> list[Message]:
        made = []
        for n, text in enumerate(self.log[after:], after + 1):
            update: Message = {"text": text}
            if n == len(self.log) or n % 3 == 0:
                update["_meta"] = {CURSOR: str(n)}
            made.append({"method": "session/update", "params": {"sessionId": "s", "update": update}})
        return made

    def request(self, key: str) -> Message:
        self.ids += 1
        self.asked[self.ids] = key
        return {
            "id": self.ids,
            "method": "session/request_permission",
            "params": {"sessionId": "s", "_meta": {ASKS: key}},
        }

    def take(self, message: Message) -> list[Message]:
        method, id, params = message.get("method"), message.get("id"), message.get("params") or {}
        meta = params.get("_meta") or {}
        if method is None:
            self.answers.append((self.asked.pop(message["id"]), message["result"]["answer"]))
            return []
        assert self.greeted or method == "initialize", message
        if method == "initialize":
            self.greeted = True
            return [{"id": id, "result": {}}]
        if method == "session/new":
            self.open.add("s")
            return [{"id": id, "result": {"sessionId": "s", "_meta": {CURSOR: str(len(self.log))}}}]
        if method in ("session/resume", "session/load"):
            self.open.add("s")
            after = 0 if method == "session/load" else int(meta.get(REPLAY_FROM, len(self.log)))
            out = self.updates(after)
            out += [self.request(key) for key in self.asks if key not in dict(self.answers)]
            return [*out, {"id": id, "result": {"_meta": {CURSOR: str(len(self.log))}}}]
        assert method == "session/prompt" and "s" in self.open
        self.prompts.setdefault(meta[ID], params["prompt"])
        self.waiting.append((id, meta[ID]))
        return []


def play(seed: int) -> None:
    chance = random.Random(seed)
    relay, server = Relay(), Server()
    editor: list[Message] = []
    to_server: list[Message] = []
    to_editor: list[Message] = []

    def do(out: Any) -> None:
        editor.extend(out.editor)
        to_server.extend(out.server)

    def step() -> None:
        """One thing happens: a message arrives, the server dies or comes up."""
        if not server.up:
            to_server.clear()
            to_editor.clear()
            server.up = True
            do(relay.connected())
        elif chance.random() < 0.08:
            server.die()
            to_server.clear()
            to_editor.clear()
            relay.lost()
        elif to_server and (not to_editor or chance.random() < 0.5):
            to_editor.extend(server.take(to_server.pop(0)))
        elif to_editor:
            do(relay.from_server(to_editor.pop(0)))

    def until(done: Any) -> None:
        for _ in range(5000):
            if done():
                return
            step()
        raise AssertionError((seed, editor, server.__dict__, relay.__dict__))

    def answered(id: int) -> bool:
        return any(m.get("id") == id and "result" in m for m in editor)

    do(relay.from_editor(call(1, "initialize")))
    until(lambda: answered(1))
    do(relay.from_editor(call(2, "session/new", cwd="/code")))
    until(lambda: answered(2))
    for turn in range(3):
        prompt = 10 + turn
        do(relay.from_editor(call(prompt, "session/prompt", sessionId="s", prompt=f"p{turn}")))
        until(lambda turn=turn: len(server.prompts) == turn + 1)
        for n in range(8):
            server.log.append(f"{turn}.{n}")
            if server.up and "s" in server.open:
                to_editor.extend(server.updates(len(server.log) - 1))
            for _ in range(chance.randrange(3)):
                step()
        key = f"ask{turn}"
        server.asks[key] = {}
        if server.up and "s" in server.open:
            to_editor.append(server.request(key))
        seen = lambda key=key: [m for m in editor if (m.get("params") or {}).get("_meta", {}).get(ASKS) == key]  # noqa: E731
        until(seen)
        do(relay.from_editor({"id": seen()[0]["id"], "result": {"answer": f"a{turn}"}}))
        until(lambda key=key: key in dict(server.answers))
        assert len(seen()) == 1, (seed, "asked twice")
        until(lambda: bool(server.waiting))
        to_editor.extend({"id": id, "result": {}} for id, _ in server.waiting)
        server.waiting.clear()
        before = len(server.log)
        until(lambda prompt=prompt: answered(prompt) or resend(server, to_editor))
        assert before == len(server.log)
    until(lambda: sum(m.get("method") == "session/update" for m in editor) >= len(server.log))
    shown = [m["params"]["update"]["text"] for m in editor if m.get("method") == "session/update"]
    assert shown == server.log, (seed, shown)
    assert sorted(server.prompts.values()) == ["p0", "p1", "p2"], (seed, server.prompts)
    assert server.answers == [(f"ask{n}", f"a{n}") for n in range(3)], (seed, server.answers)
    assert sum("result" in m for m in editor) == 5, seed


def resend(server: Server, to_editor: list[Message]) -> bool:
    """The run is over: whoever asks again is told so."""
    to_editor.extend({"id": id, "result": {}} for id, _ in server.waiting)
    server.waiting.clear()
    return False


def test_servers_die_at_any_place_and_the_editor_sees_everything_once() -> None:
    for _ in range(300):
        play(random.randrange(2**32))


def test_an_answer_given_while_no_server_was_there_is_given_to_the_next() -> None:
    relay = Relay()
    relay.from_editor(call(1, "initialize"))
    relay.connected()
    relay.from_server({"id": 1, "result": {}})
    ask = {"id": 7, "method": "session/request_permission", "params": {"_meta": {ASKS: "d#0"}}}
    given = relay.from_server(ask).editor[0]
    relay.lost()
    assert relay.from_editor({"id": given["id"], "result": {"x": 1}}).server == []
    relay.connected()
    assert relay.from_server({**ask, "id": 3}).server == [{"id": 3, "result": {"x": 1}}]


def test_a_session_that_was_being_loaded_is_loaded_on_not_again() -> None:
    relay = Relay()
    relay.from_editor(call(1, "initialize"))
    relay.connected()
    relay.from_server({"id": 1, "result": {}})
    relay.from_editor(call(2, "session/load", sessionId="s", cwd="/code"))
    update = {
        "method": "session/update",
        "params": {"sessionId": "s", "update": {"text": "a", "_meta": {CURSOR: "c1"}}},
    }
    assert relay.from_server(update).editor == [update]
    relay.lost()
    greeting, resume = relay.connected().server
    assert resume["method"] == "session/resume" and resume["params"]["_meta"] == {REPLAY_FROM: "c1", ALL: True}
    relay.from_server({"id": greeting["id"], "result": {}})
    out = relay.from_server({"id": resume["id"], "result": {"modes": {}}})
    assert out.editor == [{"id": 2, "result": {"modes": {}}}] and out.server == []


def test_what_the_editor_says_while_nothing_runs_is_sent_in_order_later() -> None:
    relay = Relay()
    assert relay.from_editor(call(1, "initialize")).server == []
    assert [m["method"] for m in relay.connected().server] == ["initialize"]
    relay.from_server({"id": 1, "result": {}})
    relay.lost()
    relay.from_editor(call(2, "session/prompt", sessionId="s", prompt="p"))
    relay.from_editor({"method": "session/cancel", "params": {"sessionId": "s"}})
    own = relay.connected().server
    assert [m["method"] for m in own] == ["initialize"]
    out = relay.from_server({"id": own[0]["id"], "result": {}})
    assert [m["method"] for m in out.server] == ["session/prompt", "session/cancel"]


def test_without_marks_of_its_own_a_prompt_would_be_done_twice() -> None:
    """The control: the id that makes sending again harmless is what the random plays stand on."""
    sent = Relay()._marked(call(3, "session/prompt", sessionId="s"))
    assert sent["params"]["_meta"][ID]
    relay = Relay()
    first, second = (relay._marked(call(n, "session/prompt"))["params"]["_meta"][ID] for n in (1, 2))
    assert first != second


def test_mutations_of_the_relay_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken one by one: what holds updates back until a cursor, what keeps an answer, what makes prompts harmless to repeat."""

    def at_once(self: Relay, message: Message) -> Out:
        cursor = (message["params"]["update"].get("_meta") or {}).get(CURSOR)
        if cursor is not None:
            self._open[message["params"]["sessionId"]] = cursor
        return Out(editor=[message])

    def forgetting(self: Relay, message: Message) -> Out:
        out = answered(self, message)
        self._asked = {k: a for k, a in self._asked.items() if a.ours != message.get("id")}
        return out

    answered = Relay._answered
    for name, broken in (("_update", at_once), ("_answered", forgetting), ("_marked", lambda _, message: message)):
        with monkeypatch.context() as mutated, pytest.raises((AssertionError, KeyError)):
            mutated.setattr(Relay, name, broken)
            for _ in range(300):
                play(random.randrange(2**32))
