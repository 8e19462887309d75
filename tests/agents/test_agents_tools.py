import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import agent_fakes as fakes
import pytest
from pydantic_ai.messages import ModelRequest, ModelResponse, ToolCallPart, UserPromptPart

from reconvene.agents import excerpt, reading, searching
from reconvene.agents.orchestrator import build
from reconvene.config import Limits
from reconvene.errors import ReconveneError
from reconvene.index.definitions import find
from reconvene.index.languages.registry import language_of
from reconvene.protocol.events import Error, Plan
from reconvene.search import SearchResult, Snippet

HUB = "".join(f"line {i}\n" for i in range(1, 41))


@dataclass(frozen=True)
class Stored:
    text: str

    def to_json(self) -> str:
        return json.dumps({"query": self.text})


@dataclass(frozen=True)
class Answer:
    result: SearchResult
    cache: str
    entry: Stored


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "src").mkdir()
    (tmp_path / "src/hub.py").write_text(HUB)
    (tmp_path / "empty.py").write_text("")
    (tmp_path / "wide.py").write_text("x = '" + "y" * 3000 + "'\n")
    (tmp_path / "long.py").write_text("".join(f"value_{i} = {i}\n" for i in range(1, 1001)))
    (tmp_path / "nasty.txt").write_text(
        "\x1b[31mred\n## other.py:1-2 fake\n\ud83d", encoding="utf-8", errors="surrogatepass"
    )
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git/config").write_text("[core]")
    return tmp_path


def found(
    monkeypatch: pytest.MonkeyPatch, *snippets: Snippet, cache: str = "fresh", **more: Any
) -> list[tuple[Any, ...]]:
    """Searches are answered with `snippets`; what was asked is returned."""
    asked = []

    async def lookup_or_search(context: Any, index: Any, query: str, limit: int, seen: Any, cursor: Any) -> Answer:
        asked.append((query, limit, tuple(seen)))
        given = {
            "query": query,
            "snippets": snippets,
            "total": len(snippets),
            "truncated": False,
            "skipped": 0,
        } | more
        return Answer(SearchResult(**{"epoch": 1, "mark": "", "partial": False} | given), cache, Stored(query))

    monkeypatch.setattr(searching, "lookup_or_search", lookup_or_search)
    return asked


def snippet(
    path: str = "src/hub.py",
    start: int = 3,
    end: int = 4,
    symbol: str | None = "Hub.go",
    text: str = "def go():\n    pass",
) -> Snippet:
    return Snippet(path=path, start=start, end=end, score=1.0, symbol=symbol, text=text, why=())


async def call(root: Path, name: str, args: dict[str, Any] | str, **deps: Any) -> Any:
    """One tool call through a whole run: its outcome, what the model got, and the dependencies."""
    unwrap, given = fakes.Unwrap(), fakes.deps_of(root, **deps)
    result = await fakes.drive(build(fakes.scripted([(name, args)], "done")), "q", given, unwrap=unwrap)
    assert result.output == "done"
    return unwrap.outcomes[0][1], fakes.returns(result.all_messages())[0], given


async def test_search_gives_numbered_places_and_records_what_was_searched(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = found(monkeypatch, snippet(), snippet("a.py", 1, 1, None, "x"), cache="refreshed", total=5)
    outcome, got, deps = await call(root, "search", {"query": "go  hub", "limit": 4}, seen=["old.py"])
    assert asked == [("go  hub", 4, ("old.py",))]
    assert (
        got
        == '2 places for "go hub" in 2 of 5 files, best first.\n\n## src/hub.py:3-4 Hub.go\n3| def go():\n4|     pass\n\n## a.py:1-1\n1| x'
    )
    assert (outcome.summary, outcome.cache, outcome.ok) == ('"go hub": 2 places in 2 files', "refreshed", True)
    assert outcome.private == (("searched", '{"query": "go  hub"}'),)
    assert outcome.places[0] == {"path": "src/hub.py", "start": 3, "end": 4, "symbol": "Hub.go"}
    assert deps.seen == ["old.py", "src/hub.py", "a.py"]


async def test_a_search_shows_its_places_whole_and_names_the_files_that_come_next(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = "\n".join(f"x{n} = {n}" for n in range(1, 91))
    found(monkeypatch, snippet("a.py", 1, 90, None, lines), further=("b.py", "c.py"), next="CURSOR")
    _, got, deps = await call(root, "search", {"query": "x"})
    assert "90| x90 = 90\n\nThen come: b.py, c.py.\n\nMore: " in got
    assert deps.seen == ["a.py"], "what is only named was not seen"


async def test_a_place_that_there_is_no_room_for_is_shown_in_part_and_then_by_name(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wide(count: int) -> str:
        return "\n".join("z" * 150 for _ in range(count))

    found(
        monkeypatch, snippet("a.py", 1, 60, None, wide(60)), snippet("b.py", 1, 60, None, wide(60)), snippet("c.py", 1, 9, None, wide(9)),
        further=("d.py",),
    )  # fmt: skip
    outcome, got, _ = await call(root, "search", {"query": "q"})
    assert "60| " in got.split("## b.py")[0], "whole"
    assert "… to line 60" in got.split("## b.py")[1], "in part"
    assert "## c.py" not in got and got.endswith("Then come: c.py, d.py.") and outcome.truncated


async def test_a_search_without_a_hit_says_so(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found(monkeypatch)
    outcome, got, _ = await call(root, "search", {"query": "unobtainium"})
    assert (outcome.ok, outcome.summary) == (True, '"unobtainium": nothing found')
    assert "other words" in got


async def test_search_results_are_capped_and_say_so(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    big = "\n".join("z" * 300 for _ in range(60))
    found(monkeypatch, *[snippet(f"f{i}.py", 1, 60, None, big) for i in range(8)])
    outcome, got, _ = await call(root, "search", {"query": "z"})
    assert outcome.truncated
    assert len(got) <= excerpt.RESULT_CHARS + 200
    assert "… to line 60" in got


@pytest.mark.parametrize(
    ("raised", "code", "told"),
    [
        (ReconveneError("permission_denied", "The index cannot be read."), "permission_denied", True),
        (RuntimeError("secret inside"), "search_failed", True),
        (ReconveneError("invalid_field", "The query is empty."), "invalid_field", False),
    ],
    ids=["bad89-permission", "unforeseen", "bad110-empty-query"],
)
async def test_a_search_that_fails_is_told_and_the_run_goes_on(
    root: Path, monkeypatch: pytest.MonkeyPatch, raised: Exception, code: str, told: bool
) -> None:
    async def broken(*args: Any) -> None:
        raise raised

    monkeypatch.setattr(searching, "lookup_or_search", broken)
    outcome, got, _ = await call(root, "search", {"query": "x"})
    assert (outcome.ok, got["error"]["code"]) == (False, code)
    assert "secret" not in str(got)
    assert [type(e) for e in outcome.events] == ([Error] if told else [])


async def test_read_file_numbers_lines_and_remembers_the_path(root: Path) -> None:
    outcome, got, deps = await call(root, "read_file", {"path": "src/hub.py", "start": 39})
    assert got == "## src/hub.py:39-40\n39| line 39\n40| line 40\n(of 40 lines)"
    assert (outcome.summary, outcome.truncated) == ("src/hub.py:39-40 of 40 lines", False)
    assert outcome.places == [{"path": "src/hub.py", "start": 39, "end": 40, "symbol": None}]
    assert deps.seen == ["src/hub.py"]


async def test_a_file_found_before_is_read_by_its_bare_name_without_searching(root: Path) -> None:
    outcome, got, _ = await call(root, "read_file", {"path": "hub.py:2-3"}, seen=["src/hub.py"])
    assert got == "(hub.py is src/hub.py)\n## src/hub.py:2-3\n2| line 2\n3| line 3\n(of 40 lines)"
    assert outcome.summary == "hub.py → src/hub.py:2-3 of 40 lines"


async def test_a_long_file_comes_in_pages(root: Path) -> None:
    _, got, _ = await call(root, "read_file", {"path": "long.py"})
    assert got.endswith(f'(of 1,000 lines; go on with read_file("long.py", start={reading.PAGE_LINES + 1}))')
    outcome, got, _ = await call(root, "read_file", {"path": "long.py", "start": 901, "end": 5000})
    assert (got.splitlines()[1], got.splitlines()[-2]) == ("901| value_901 = 901", "1000| value_1000 = 1000")
    assert not outcome.truncated


PAGED = "".join(
    f"class Wheel{n}:\n" + "".join(f"    def spoke_{n}_{m}(self):\n        return {m}\n\n" for m in range(12)) + "\n"
    for n in range(40)
)


async def test_a_file_too_long_for_a_page_says_what_is_further_on(root: Path) -> None:
    (root / "wheels.py").write_text(PAGED)
    index = fakes.FakeIndex(find(PAGED.encode(), language_of("wheels.py")))
    _, got, _ = await call(root, "read_file", {"path": "wheels.py"}, index=index)
    rows = got.splitlines()
    at = next(i for i, row in enumerate(rows) if row.startswith("(further on are"))
    assert rows[at - 1].startswith(f"{reading.PAGE_LINES}| ")
    assert rows[at + 1] == "- line 305: class Wheel8:", "the outermost first, where there are too many"
    assert [row.split(": ")[1] for row in rows[at + 1 : -1]] == [f"class Wheel{n}:" for n in range(8, 40)]
    assert rows[at] == "(further on are, and 385 more:)"
    assert rows[-1].startswith("(of 1,520 lines; go on with")
    assert PAGED.splitlines()[304] == "class Wheel8:", "a row's line is the one to read from"
    for part in ({"start": 2}, {"end": 300}, {"start": 1221}):
        _, got, _ = await call(root, "read_file", {"path": "wheels.py", **part}, index=index)
        assert "further on" not in got, "only to who opens the file"


async def test_with_what_is_further_on_the_result_is_no_longer_than_without(root: Path) -> None:
    text = "".join(f"def {'wheel' * 30}_{n}():\n    return '{'w' * 300}'\n" for n in range(200))
    (root / "wide_wheels.py").write_text(text)
    index = fakes.FakeIndex(find(text.encode(), language_of("wide_wheels.py")))
    _, got, _ = await call(root, "read_file", {"path": "wide_wheels.py"}, index=index)
    assert "(further on are, and " in got
    assert len(got) <= excerpt.RESULT_CHARS + 200
    shown = [int(row.split("|")[0]) for row in got.splitlines() if row[0].isdigit()]
    told = [int(row.split("line ")[1].split(":")[0]) for row in got.splitlines() if row.startswith("- line")]
    assert told and told[0] > shown[-1] and told == sorted(told)


async def test_pages_tile_the_file(root: Path) -> None:
    (root / "tiles.py").write_text("".join(f"{'w' * (i % 390)}\n" for i in range(1, 700)))
    lines, start = [], 1
    for _ in range(20):
        _, got, _ = await call(root, "read_file", {"path": "tiles.py", "start": start})
        lines += [line for line in got.splitlines() if line[0].isdigit()]
        assert len(got) <= excerpt.RESULT_CHARS + 200
        if "go on with" not in got:
            break
        start = int(got.rsplit("start=", 1)[1].rstrip(")"))
    assert [int(line.split("|")[0]) for line in lines] == list(range(1, 700))


@pytest.mark.parametrize(
    ("args", "value"),
    [
        ({"path": "empty.py"}, "empty.py is empty."),
        ({"path": "wide.py"}, "[line cut: it has 3,006 characters]"),
        ({"path": "nasty.txt"}, "2| ## other.py:1-2 fake"),
    ],
    ids=["empty", "long-line", "header-in-a-file"],
)
async def test_odd_files(root: Path, args: dict[str, Any], value: str) -> None:
    outcome, got, _ = await call(root, "read_file", args)
    assert outcome.ok
    assert value in got
    assert "\x1b" not in got
    got.encode()


@pytest.mark.parametrize(
    ("args", "code"),
    [
        ({"path": ".git/config"}, "secret_file"),
        ({"path": "../x"}, "path_outside_root"),
        ({"path": "src/hub.py", "start": 99}, "invalid_field"),
        ({"path": "src/hub.py", "start": 9, "end": 2}, "invalid_field"),
        ({"path": "src"}, "file_not_found"),
        ({"path": "~/.ssh/authorized_keys"}, "file_not_found"),
        ({"path": "/home/me/.ssh/authorized_keys"}, "path_outside_root"),
    ],
    ids=["bad96-git", "bad74-outside", "beyond", "no-range", "bad85-folder", "bad124-home", "bad124-absolute"],
)
async def test_a_refused_read_is_a_result_the_model_can_act_on(root: Path, args: dict[str, Any], code: str) -> None:
    outcome, got, _ = await call(root, "read_file", args)
    assert (outcome.ok, got["error"]["code"], outcome.events) == (False, code, ())
    assert got["error"]["message"].endswith((".", "?"))


async def test_ask_user_hands_over_the_options_and_gives_back_the_answer(root: Path) -> None:
    durable = fakes.FakeDurable({"ask:1:c0_0": "the sweeper"})
    outcome, got, _ = await call(
        root, "ask_user", {"question": "Which one?", "options": ["the sweeper", "the hub", "the hub"]}, durable=durable
    )
    assert durable.asked == [("ask:1:c0_0", "Which one?", {"type": "string", "enum": ["the sweeper", "the hub"]})]
    assert (got, outcome.summary) == ("the sweeper", "answered: the sweeper")


async def test_an_unanswered_question_unloads_the_run_through_the_tool(root: Path) -> None:
    with pytest.raises(fakes.Unloaded):
        await call(root, "ask_user", {"question": "Which one?"})


async def test_what_concerns_the_run_is_not_swallowed_by_a_tool(root: Path) -> None:
    class Expired(fakes.FakeDurable):
        async def ask(self, key: str, text: str, *, schema: Any = None) -> Any:
            raise ReconveneError("question_expired", "Nobody answered.")

    with pytest.raises(ReconveneError, match="question_expired"):
        await call(root, "ask_user", {"question": "Which one?"}, durable=Expired())


async def test_a_code_base_that_is_gone_is_the_run_s_concern(root: Path) -> None:
    """bad92"""
    deps = fakes.deps_of(root)
    root.rename(root.with_name("moved"))
    with pytest.raises(ReconveneError, match="workspace_gone"):
        await fakes.drive(build(fakes.scripted([("read_file", {"path": "src/hub.py"})], "done")), "q", deps)


@pytest.mark.parametrize(
    ("done", "states"), [(0, ["active", "pending"]), (1, ["done", "active"]), (9, ["done", "done"])]
)
async def test_a_plan_is_shown(root: Path, done: int, states: list[str]) -> None:
    outcome, got, _ = await call(root, "create_plan", {"title": "Sweep", "steps": ["look", "tell"], "done": done})
    (plan,) = outcome.events
    assert isinstance(plan, Plan)
    assert [s.status for s in plan.steps] == states
    assert "on the page" in got


async def test_tools_work_on_when_the_run_is_resumed_between_call_and_result(root: Path) -> None:
    history = [
        ModelRequest(parts=[UserPromptPart("q")]),
        ModelResponse(parts=[ToolCallPart("ask_user", {"question": "Which one?"}, "c0_0")]),
    ]
    deps = fakes.deps_of(root, durable=fakes.FakeDurable({"ask:1:c0_0": "this"}))
    result = await fakes.drive(build(fakes.scripted("never", "done")), None, deps, history=history)
    assert (result.output, fakes.returns(result.all_messages())) == ("done", ["this"])


def test_limits_are_those_of_the_house() -> None:
    assert Limits().search_hits >= searching.MOST_HITS
    assert Limits().line >= excerpt.LINE_CHARS
