"""What people decide and what they do to the files meanwhile: nobody's bytes are lost, nothing is written that nobody accepted."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from coding import Asked, agents, update
from house import ME, House, check_log, contents
from reconvene.agents.edit_format import Create, Delete, Edit, Rename, Replace, render
from reconvene.config import Limits
from reconvene.errors import ReconveneError
from reconvene.sessions import service
from reconvene.sessions.kept import needed, needed_by_all, patch
from reconvene.sessions.rows import Who
from reconvene.sessions.sweeper import Sweeper
from reconvene.workspace import contents as contents_module
from reconvene.workspace.contents import Contents
from reconvene.workspace.edits import Outcome, Writer

FILES = {"a.py": "one = 1\ntwo = 2\n", "b.py": "old = True\n", "Makefile": "all:\n\ttrue\n"}
TABS = Who("owner", "left"), Who("owner", "right")
BYTES = {name: text.encode() for name, text in FILES.items()}


def change(old: str = "one = 1", new: str = "one = 11") -> str:
    return render([Edit("a.py", (Replace((old,), (new,)),))])


def tree(house: House) -> dict[str, bytes]:
    root = house.folder / "project"
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


async def opened(tmp_path: Path, *answers: str, **more: Any) -> House:
    heard = more.pop("heard", None)
    asked = more.pop("asked", None)
    model = agents([update("x", "a.py"), "done"], answers, heard=heard, asked=asked)
    return await House.open(tmp_path, model, files=dict(FILES), **more)


async def pending(house: House, session: str, nth: int = 1) -> Any:
    """The open diff, the n-th of its session, once its run waits for it."""
    rows = await house.until(
        session,
        lambda rows: len(contents(rows, "diff")) >= nth and contents(rows, "run")[-1]["status"] == "waiting",
    )
    while house.supervisor.active:
        await asyncio.sleep(0)
    return contents(rows, "diff")[nth - 1]


async def decide(house: House, session: str, diff: Any, verdict: Any = "accept", who: Who = ME, **more: Any) -> Any:
    return await house.sessions.decide(who, session, id=None, reply_to=diff["id"], verdict=verdict, **more)


async def refused(code: str, coroutine: Any) -> ReconveneError:
    with pytest.raises(ReconveneError) as e:
        await coroutine
    assert e.value.code == code, e.value
    return e.value


async def test_bad64_two_tabs_and_one_write(tmp_path: Path) -> None:
    house = await opened(tmp_path, change())
    session = await house.ask("q")
    diff = await pending(house, session)
    both = (decide(house, session, diff, v, who) for v, who in zip(("accept", "reject"), TABS, strict=True))
    said = await asyncio.gather(*both, return_exceptions=True)
    [loser] = [s for s in said if isinstance(s, ReconveneError)]
    assert loser.code == "already_decided" and loser.details["by"] in ("left", "right")
    rows = await house.completed(session)
    check_log(rows)
    [decided] = contents(rows, "decided")
    assert (tree(house) == BYTES) == (decided["verdict"] == "reject")
    await house.close()


async def test_a_decision_has_to_fit_its_diff(tmp_path: Path) -> None:
    house = await opened(tmp_path, change())
    session = await house.ask("q")
    diff = await pending(house, session)
    await refused("invalid_field", decide(house, session, diff, hunks=["f9-h9"]))
    await refused("invalid_field", decide(house, session, diff, "feedback", feedback="  "))
    await refused("too_large", decide(house, session, diff, "feedback", feedback="x" * 20_001))
    await decide(house, session, diff, hunks=[])  # to accept nothing is to reject
    rows = await house.completed(session)
    assert contents(rows, "decided")[0]["verdict"] == "reject" and tree(house) == BYTES
    await house.close()


@pytest.mark.parametrize("what", ["changed", "deleted"], ids=["bad97-changed", "bad98-deleted"])
async def test_a_file_that_changed_under_its_diff(tmp_path: Path, what: str) -> None:
    """The accept is refused, nobody's bytes are touched, and the next diff is made from the file as it is."""
    heard: list[tuple[str, str]] = []
    recreate = render([Create("a.py", ("one = 11",))])
    house = await opened(
        tmp_path, change(), change("one = 5", "one = 11") if what == "changed" else recreate, heard=heard
    )
    session = await house.ask("q")
    diff = await pending(house, session)
    file = house.folder / "project/a.py"
    file.write_text("one = 5\n") if what == "changed" else file.unlink()
    theirs = tree(house)
    error = await refused("stale_diff", decide(house, session, diff))
    assert error.details["paths"] == ["a.py"]
    await refused("stale_diff", decide(house, session, diff))  # also on the next tab
    again = await pending(house, session, 2)
    assert tree(house) == theirs and "a.py" in heard[-1][1]
    await decide(house, session, again)
    rows = await house.completed(session)
    check_log(rows)
    assert [d["verdict"] for d in contents(rows, "decided")] == ["stale", "accept"]
    assert tree(house)["a.py"] == b"one = 11\n"
    await house.close()


async def test_bad98_a_file_that_came_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    house = await opened(tmp_path, render([Create("new.py", ("mine",))]), render([Create("new2.py", ("mine",))]))
    session = await house.ask("q")
    diff = await pending(house, session)
    (house.folder / "project/new.py").write_text("theirs\n")
    await refused("stale_diff", decide(house, session, diff))
    await decide(house, session, await pending(house, session, 2))
    await house.completed(session)
    assert tree(house) == {**BYTES, "new.py": b"theirs\n", "new2.py": b"mine\n"}
    await house.close()


async def test_control_without_the_look_at_the_decision_the_writer_still_compares(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """bad97: a save between the accept and the write is a conflict, told to the coder, who proposes anew."""
    monkeypatch.setattr(service, "changed_files", lambda *_: [])
    house = await opened(tmp_path, change(), change("one = 5", "one = 11"))
    session = await house.ask("q")
    diff = await pending(house, session)
    (house.folder / "project/a.py").write_text("one = 5\n")
    assert (await decide(house, session, diff)).status == "accepted"
    again = await pending(house, session, 2)
    [applied] = contents(await house.rows(session), "applied")
    assert not applied["files"] and [c["path"] for c in applied["conflicts"]] == ["a.py"]
    assert tree(house)["a.py"] == b"one = 5\n"
    await decide(house, session, again)
    rows = await house.completed(session)
    check_log(rows)
    assert tree(house)["a.py"] == b"one = 11\n"
    await house.close()


async def test_bad99_a_parent_that_became_a_link_leads_nowhere(tmp_path: Path) -> None:
    files = {"sub/a.py": "one = 1\n"}
    model = agents([update(), "done"], [render([Edit("sub/a.py", (Replace(("one = 1",), ("one = 2",)),))]), "no more"])
    house = await House.open(tmp_path, model, files=files)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a.py").write_text("one = 1\n")
    session = await house.ask("q")
    diff = await pending(house, session)
    sub = house.folder / "project/sub"
    sub.rename(house.folder / "gone")
    sub.symlink_to(outside)
    await refused("stale_diff", decide(house, session, diff))
    await house.completed(session)
    assert (outside / "a.py").read_text() == "one = 1\n" and os.listdir(outside) == ["a.py"]
    await house.close()


@pytest.mark.parametrize("code", ["permission_denied", "disk_full"], ids=["bad100-permission", "bad101-disk-full"])
async def test_what_cannot_be_written_waits_with_its_accept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    apply, failing = Writer.apply, [True]

    def sometimes(self: Writer, plan: Any) -> Outcome:
        if failing[0]:
            return Outcome("none", self.status(plan), ReconveneError(code, "It cannot be written."))
        return apply(self, plan)

    monkeypatch.setattr(Writer, "apply", sometimes)
    asked = Asked()
    house = await opened(tmp_path, change(), asked=asked)
    session = await house.ask("q")
    await decide(house, session, await pending(house, session))
    await house.until(session, lambda rows: contents(rows, "question"))
    while house.supervisor.active:
        await asyncio.sleep(0)
    assert tree(house) == BYTES and contents(await house.rows(session), "error")[0]["code"] == code
    await house.restart()
    failing[0] = False
    [question] = (await house.sessions.state(session)).pending.values()
    await house.sessions.answer(ME, session, id=None, reply_to=question.id, value="retry")
    rows = await house.completed(session)
    check_log(rows)
    assert tree(house)["a.py"] == b"one = 11\ntwo = 2\n" and len(contents(rows, "decided")) == 1
    assert asked == {("orchestrator", 0): 1, ("coder", 0): 1, ("orchestrator", 1): 1}
    await house.close()


async def test_bad68_stopped_in_the_middle_of_a_write_it_is_written_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply, begun, go = Writer.apply, threading.Event(), threading.Event()

    def slowly(self: Writer, plan: Any) -> Outcome:
        begun.set()
        assert go.wait(20)
        return apply(self, plan)

    monkeypatch.setattr(Writer, "apply", slowly)
    house = await opened(tmp_path, change())
    session = await house.ask("q")
    await decide(house, session, await pending(house, session))
    assert await asyncio.to_thread(begun.wait, 20)
    await house.sessions.cancel(ME, session, id=None)
    go.set()
    rows = await house.completed(session)
    check_log(rows)
    assert contents(rows, "completed")[0]["outcome"] == "cancelled"
    assert [f["path"] for f in contents(rows, "applied")[0]["files"]] == ["a.py"]
    assert tree(house)["a.py"] == b"one = 11\ntwo = 2\n"
    await house.close()


async def test_bad103_a_coder_that_never_fits_changes_nothing(tmp_path: Path) -> None:
    house = await opened(tmp_path, change("not there", "x"))
    session = await house.ask("q")
    rows = await house.completed(session)
    check_log(rows)
    assert not contents(rows, "diff") and tree(house) == BYTES
    [result] = contents(rows, "tool_result")
    assert not result["ok"] and contents(rows, "completed")[0]["outcome"] == "success"
    assert sum(r.type == "sub_model" for r in rows) == 4
    await house.close()


async def test_bad103_syntax_is_checked_before_anybody_is_asked(tmp_path: Path) -> None:
    heard: list[tuple[str, str]] = []
    house = await opened(tmp_path, change("one = 1", "one = ("), change(), heard=heard)
    session = await house.ask("q")
    diff = await pending(house, session)
    assert "syntax error" in heard[1][1] and "+one = 11" in diff["files"][0]["hunks"][0]["unified"]
    await house.close()


async def test_a_grammars_doubt_goes_back_once_and_is_not_the_last_word(tmp_path: Path) -> None:
    heard: list[tuple[str, str]] = []
    broken = render([Create("app.js", ("function f( {", "  return 1"))])
    fine = render([Create("lib.js", ("export const f = () => 1",))])
    house = await opened(tmp_path, broken, broken, fine, heard=heard)
    session = await house.ask("q")
    diff = await pending(house, session)
    assert "app.js seems to have a syntax error at line" in heard[1][1] and len(heard) == 2
    assert [f["path"] for f in diff["files"]] == ["app.js"]
    await decide(house, session, diff, "feedback", feedback="another file")
    again = await pending(house, session, 2)
    assert [f["path"] for f in again["files"]] == ["lib.js"]
    await house.close()


PATHS = {
    "bad74-dotdot": "../x.py",
    "bad74-absolute": "/etc/passwd",
    "bad74-nested": "a/../../x.py",
    "bad104-git-config": ".GIT/config",
    "bad104-git": ".git/hooks/pre-commit",
    "bad81-long": "x" * 300,
}


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
async def test_paths_a_coder_may_not_name(tmp_path: Path, path: str) -> None:
    house = await opened(tmp_path, render([Create(path, ("x",))]), change())
    session = await house.ask("q")
    diff = await pending(house, session)
    assert [f["path"] for f in diff["files"]] == ["a.py"]
    assert set(os.listdir(tmp_path)) == {"project", "data"} and tree(house) == BYTES
    await house.close()


async def test_bad104_risky_files_are_asked_one_by_one_whatever_the_mode(tmp_path: Path) -> None:
    steps = [
        Edit("a.py", (Replace(("one = 1",), ("one = 11",)),)),
        Edit("Makefile", (Replace(("\ttrue",), ("\tfalse",)),)),
        Create(".husky/pre-commit", ("#!/bin/sh",)),
    ]
    house = await opened(tmp_path, render(steps))
    session = await house.session()
    await house.sessions.act(ME, session, id=None, name="edit_mode", args={"mode": "accept"})
    await house.ask("q", session)
    makefile = await pending(house, session, 2)
    rows = await house.rows(session)
    assert contents(rows, "decided")[0]["by"] == "accept edits" and tree(house)["a.py"].startswith(b"one = 11")
    assert makefile["risky"] and [f["path"] for f in makefile["files"]] == ["Makefile"] and makefile["files"][0]["risk"]
    await house.sessions.act(ME, session, id=None, name="edit_mode", args={"mode": "accept"})
    await house.restart()
    await decide(house, session, makefile)
    hook = await pending(house, session, 3)
    assert hook["risky"] and [f["path"] for f in hook["files"]] == [".husky/pre-commit"]
    await decide(house, session, hook, "reject")
    rows = await house.completed(session)
    check_log(rows)
    assert tree(house)["Makefile"] == b"all:\n\tfalse\n" and ".husky/pre-commit" not in tree(house)
    await house.close()


@pytest.mark.parametrize("what", ["bytes", "files"], ids=["bad105-bytes", "bad105-files"])
async def test_a_diff_over_the_limit_goes_back(tmp_path: Path, what: str) -> None:
    limits = Limits(diff=100, diff_files=2)
    big = render([Create("x.py", ("# " + "y" * 200,))])
    many = render([Create(f"x{n}.py", ()) for n in range(3)])
    heard: list[tuple[str, str]] = []
    house = await opened(tmp_path, big if what == "bytes" else many, change(), limits=limits, heard=heard)
    session = await house.ask("q")
    await pending(house, session)
    assert "Propose it in parts" in heard[1][1]
    await house.close()


async def test_bad106_a_diff_of_another_session(tmp_path: Path) -> None:
    house = await opened(tmp_path, change())
    session = await house.ask("q")
    diff = await pending(house, session)
    other = await house.session()
    await refused("no_such_diff", decide(house, other, diff))
    await house.close()


async def test_secrets_in_the_lines_are_hidden_and_kept(tmp_path: Path) -> None:
    """bad91: the event shows no key that stands beside the change; the file keeps it."""
    key = "AKIA" + "ABCDEFGHIJKLMNOP"
    model = agents([update(), "done"], [change()])
    house = await House.open(tmp_path, model, files={"a.py": f"key = '{key}'\none = 1\n"})
    session = await house.ask("q")
    await decide(house, session, await pending(house, session))
    rows = await house.completed(session)
    assert tree(house)["a.py"] == f"key = '{key}'\none = 11\n".encode()
    assert not any(key in r.content for r in rows)
    await house.close()


# -- taken back


async def applied(house: House, session: str, runs: int = 1) -> Any:
    diff = await pending(house, session, runs)
    await decide(house, session, diff)
    await house.completed(session, runs)
    return diff


async def test_a_change_is_taken_back_after_a_restart_byte_for_byte(tmp_path: Path) -> None:
    steps = [
        Edit("a.py", (Replace(("one = 1",), ("one = 11",)),)),
        Create("deep/er/new.py", ("x",)),
        Delete("b.py"),
        Rename("run.sh", "bin/run.sh"),
    ]
    model = agents([update(), "done"], [render(steps)])
    house = await House.open(tmp_path, model, files={**FILES, "run.sh": "#!/bin/sh\r\necho"})
    (house.folder / "project/run.sh").chmod(0o755)
    modes = lambda: {p: (house.folder / "project" / p).stat().st_mode for p in tree(house)}  # noqa: E731
    before, before_modes = tree(house), modes()
    session = await house.ask("q")
    diff = await applied(house, session)
    assert set(tree(house)) == {"a.py", "Makefile", "deep/er/new.py", "bin/run.sh"}
    await house.restart()
    await house.sessions.act(ME, session, id="u", name="undo", args={"diff_id": diff["id"]})
    assert (
        await house.sessions.act(ME, session, id="u", name="undo", args={"diff_id": diff["id"]})
    ).status == "duplicate"
    rows = await house.completed(session, 2)
    check_log(rows)
    assert tree(house) == before and modes() == before_modes
    assert not (house.folder / "project/deep").exists() and not (house.folder / "project/bin").exists()
    assert contents(rows, "applied")[-1]["undo"] and contents(rows, "completed")[-1]["outcome"] == "success"
    await refused("no_such_diff", house.sessions.act(ME, session, id=None, name="undo", args={"diff_id": diff["id"]}))
    await house.close()


async def test_what_a_person_changed_since_is_not_overwritten_by_taking_back(tmp_path: Path) -> None:
    house = await opened(tmp_path, change())
    session = await house.ask("q")
    diff = await applied(house, session)
    (house.folder / "project/a.py").write_text("mine\n")
    await house.sessions.act(ME, session, id=None, name="undo", args={"diff_id": diff["id"]})
    rows = await house.completed(session, 2)
    assert tree(house)["a.py"] == b"mine\n"
    assert contents(rows, "completed")[-1]["outcome"] == "failed" and contents(rows, "error")[-1]["code"] == "conflict"
    assert [c["path"] for c in contents(rows, "applied")[-1]["conflicts"]] == ["a.py"]
    await house.close()


async def test_rewind_a_new_prompt_and_rewind_again(tmp_path: Path) -> None:
    heard: list[tuple[str, str]] = []
    house = await opened(tmp_path, change(), heard=heard)
    session = await house.ask("first")
    start = 1
    for n in (1, 2):
        await applied(house, session, n) if n == 1 else None
        if n == 2:
            await house.ask("second", session)
            diff = await pending(house, session, 2)
            await decide(house, session, diff)
            await house.completed(session, 3)
        assert tree(house)["a.py"].startswith(b"one = 11")
        await house.sessions.act(ME, session, id=None, name="rewind", args={"upto": start})
        rows = await house.completed(session, 2 * n)
        check_log(rows)
        assert tree(house) == BYTES, n
        assert contents(rows, "completed")[-1]["outcome"] == "success"
        assert not (await house.sessions.state(session)).changes
    from reconvene.runs.journal import Journal

    assert await (await Journal.load(house.sessions, session, "r9")).earlier() == []
    await house.close()


# -- the plan


async def test_an_edited_plan_is_told_once(tmp_path: Path) -> None:
    from pydantic_ai.messages import ModelRequest, UserPromptPart
    from pydantic_ai.models.function import FunctionModel

    prompts: list[list[str]] = []
    steps: list[Any] = [
        [("create_plan", {"title": "Plan", "steps": ["one", "two"]}), ("ask_user", {"question": "Go?"})],
        "done",
    ]
    inner = agents(steps, [])

    async def stream(messages: Any, info: Any) -> Any:
        parts = [p for m in messages if isinstance(m, ModelRequest) for p in m.parts]
        prompts.append([str(p.content) for p in parts if isinstance(p, UserPromptPart)])
        async for piece in inner.stream_function([m for m in messages if not _told(m)], info):  # type: ignore[misc,operator]
            yield piece

    def _told(message: Any) -> bool:
        return isinstance(message, ModelRequest) and any(
            "changed the plan" in str(getattr(p, "content", "")) for p in message.parts
        )

    house = await House.open(tmp_path, FunctionModel(stream_function=stream), files=dict(FILES))
    session = await house.ask("q")
    await house.until(session, lambda rows: contents(rows, "run")[-1]["status"] == "waiting")
    edited = {"steps": ["one", {"title": "three", "status": "active"}]}
    await house.sessions.act(ME, session, id=None, name="edit_plan", args=edited)
    [question] = (await house.sessions.state(session)).pending.values()
    await house.sessions.answer(ME, session, id=None, reply_to=question.id, value="yes")
    rows = await house.completed(session)
    check_log(rows)
    assert [s["title"] for s in contents(rows, "plan")[-1]["steps"]] == ["one", "three"]
    assert len(prompts) == 2 and sum("2. [active] three" in p for p in prompts[1]) == 1
    await house.sessions.act(ME, session, id=None, name="edit_plan", args={"steps": ["four"]})
    await house.ask("next", session)
    await house.completed(session, 2)
    assert sum("[pending] four" in p for p in prompts[-1]) == 1
    await refused("invalid_field", house.sessions.act(ME, session, id=None, name="edit_plan", args={"steps": []}))
    await house.close()


# -- kept


async def test_a_session_is_one_patch_that_git_applies(tmp_path: Path) -> None:
    first = [
        Edit("a.py", (Replace(("one = 1",), ("one = 11",)),)),
        Create("n e w.txt", ("é", "x"), newline=False),
        Delete("b.py"),
    ]
    second = [Edit("a.py", (Replace(("one = 11",), ("one = 12",)),)), Rename("Makefile", "sub/Makefile")]
    house = await opened(tmp_path, render(first))
    session = await house.ask("first")
    await applied(house, session)
    house.resolve = lambda _name: agents([update(), "done"], [render(second)])
    house.supervisor.around.resolve = house.resolve  # type: ignore[union-attr]
    await house.ask("second", session)
    await decide(house, session, await pending(house, session, 2))
    await decide(house, session, await pending(house, session, 3))  # the Makefile, by itself
    await house.completed(session, 2)
    rows = await house.log.read(session, 0, types=("applied",))
    text = patch(rows, Contents(house.settings.data_dir / "contents"))
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    for name, content in FILES.items():
        (fresh / name).write_text(content)
    subprocess.run(["git", "init", "-q"], cwd=fresh, check=True)
    subprocess.run(["git", "apply", "-"], cwd=fresh, input=text.encode(), check=True)
    shutil.rmtree(fresh / ".git")
    assert {str(p.relative_to(fresh)): p.read_bytes() for p in fresh.rglob("*") if p.is_file()} == tree(house)
    await house.close()


async def test_contents_that_nobody_names_go_without_a_deletion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a proposal that its reviewer thinks about for long is named, though no diff was shown."""
    monkeypatch.setattr(contents_module, "GRACE", -10.0)
    thinking, decided = asyncio.Event(), asyncio.Event()

    async def before(who: str, n: int) -> None:
        if who == "reviewer":
            thinking.set()
            await decided.wait()

    model = agents([update("x", "a.py"), "done"], [change()], before=before)
    house = await House.open(tmp_path, model, files={k: v.decode() for k, v in BYTES.items()})
    kept = Contents(house.settings.data_dir / "contents")
    nobodys = kept.put(b"left by a crash")
    session = await house.ask("q", turn={"review": True})
    await thinking.wait()
    sweeper = Sweeper(house.sessions)
    rows = await house.rows(session)
    assert needed(rows) and not needed(r for r in rows if r.type != "once")  # control: nothing else names them yet
    await sweeper.sweep()
    assert kept.get(nobodys) is None
    decided.set()
    diff = await pending(house, session)
    await decide(house, session, diff)
    rows = await house.completed(session)
    assert contents(rows, "completed")[0]["outcome"] == "success" and tree(house) != BYTES
    again = kept.put(b"left by another")
    await sweeper.sweep()
    assert kept.get(again) is not None  # not every round: that would read every log each time
    house.uptime._before += 86401.0
    await sweeper.sweep()
    assert kept.get(again) is None
    await house.close()


async def test_contents_go_with_the_last_session_that_needs_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contents_module, "GRACE", 0.0)
    house = await opened(tmp_path, change())
    session = await house.ask("q")
    await applied(house, session)
    kept = Contents(house.settings.data_dir / "contents", clock=lambda: time.time() + 10)
    hashes = await needed_by_all(house.log)
    [written] = contents(await house.rows(session), "applied")
    assert {file[k] for file in written["files"] for k in ("base_hash", "new_hash")} <= hashes
    kept.sweep(hashes)
    assert all(kept.get(h) is not None for h in hashes)
    await house.sessions.delete(ME, session)
    kept.sweep(await needed_by_all(house.log))
    assert kept.size() == 0
    await house.close()
