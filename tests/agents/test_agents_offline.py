"""The offline model on a small code base, with the real workspace, index and search."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import agent_fakes as fakes
import pytest
from pydantic_ai.messages import (
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelRequest,
    ModelResponse,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.tools import DeferredToolResults

from reconvene.agents import offline, searching
from reconvene.agents.durable import AgentDeps
from reconvene.agents.offline import Do, Say, next_move, offline_model
from reconvene.agents.orchestrator import build
from reconvene.config import Limits
from reconvene.errors import ReconveneError
from reconvene.index import RootIndex
from reconvene.search.context import SearchContext
from reconvene.workspace import Workspace

SWEEPER = '''"""Ends what nobody needs."""

from app.store import delete_session


class Sweeper:
    """Looks after idle sessions."""

    def sweep(self, now: float) -> int:
        """Delete every session that is pending for too long. Returns how many."""
        gone = 0
        for session in self.pending:
            if session.idle(now):
                delete_session(session)
                gone += 1
        return gone
'''
FILES = {
    "README.md": "# Demo\n\nA small server that keeps sessions.\n\n## More\n\nText.\n",
    "app/sweeper.py": SWEEPER,
    "app/store.py": 'def delete_session(session):\n    """Remove the row of a session for good."""\n    session.rows.clear()\n',
    "app/main.py": "from app.sweeper import Sweeper\n\n\ndef main():\n    while True:\n        Sweeper().sweep(0.0)\n",
    "app/markup.py": "# <system> <validation_errors> <retry_feedback> are markup here\nMARKUP = ['<system>', '<retry_feedback>']\n",
    "tests/test_sweeper.py": "from app.sweeper import Sweeper\n\n\ndef test_sweep():\n    assert Sweeper().sweep(1.0) == 0\n",
}


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The code base and a data folder with its index, made once."""
    root, data = tmp_path_factory.mktemp("code"), tmp_path_factory.mktemp("data")
    for path, text in FILES.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    asyncio.run(_indexed(root, data))
    return root, data


async def _indexed(root: Path, data: Path) -> None:
    index = await RootIndex.open(Workspace.open(root, data_dir=None, limits=Limits()), data, Limits())
    await index.refresh()
    await index.close()


@pytest.fixture
async def deps(code: tuple[Path, Path]) -> Any:
    limits = Limits()
    workspace = Workspace.open(code[0], data_dir=None, limits=limits)
    index = await RootIndex.open(workspace, code[1], limits)
    yield AgentDeps(
        durable=fakes.FakeDurable(), workspace=workspace, index=index, context=SearchContext(), limits=limits
    )
    await index.close()


async def ask(deps: AgentDeps, prompt: str | None, history: Any = (), unwrap: fakes.Unwrap | None = None) -> Any:
    return await fakes.drive(build(offline_model(0)), prompt, deps, history=history, unwrap=unwrap)


async def test_where_gives_the_right_function_first_and_says_what_it_is(deps: AgentDeps) -> None:
    unwrap = fakes.Unwrap()
    answer = (await ask(deps, "Where are pending sessions swept?", unwrap=unwrap)).output
    assert answer.startswith("In **`Sweeper.sweep`** at `app/sweeper.py:9-16`:")
    assert "> Delete every session that is pending for too long." in answer
    assert "```python\ndef sweep(self, now: float) -> int:\n" in answer
    assert answer.count("No language model is set") == 1
    assert "reconvene model" in answer.splitlines()[-1]
    searches = [o for name, o in unwrap.outcomes if name == "search"]
    assert 1 <= len(searches) <= 4
    assert all(o.cache == "fresh" and o.private for o in searches)


async def test_how_follows_what_is_called(deps: AgentDeps) -> None:
    answer = (await ask(deps, "How does the sweeper delete pending sessions?")).output
    assert "It calls `delete_session` (`app/store.py:1`): Remove the row of a session for good." in answer


async def test_uses_are_listed_with_their_lines(deps: AgentDeps) -> None:
    answer = (await ask(deps, "Who calls delete_session?")).output
    assert "`delete_session` is defined at `app/store.py:1`." in answer
    assert "- `app/sweeper.py:14` in `Sweeper.sweep` — `delete_session(session)`" in answer


async def test_a_follow_up_knows_what_it_is_about_and_searches_no_more_than_it_must(deps: AgentDeps) -> None:
    first = await ask(deps, "Where are pending sessions swept?")
    unwrap = fakes.Unwrap()
    second = await ask(deps, "and where is it called?", first.all_messages(), unwrap)
    assert "- `app/main.py:6` in `main` — `Sweeper().sweep(0.0)`" in second.output
    assert next(o.cache for name, o in unwrap.outcomes if name == "search") == "cached"
    unwrap = fakes.Unwrap()
    third = await ask(deps, "What does Sweeper sweep do?", second.all_messages(), unwrap)
    assert "app/sweeper.py" in third.output
    assert not [
        o for name, o in unwrap.outcomes if name == "search" and o.cache != "cached" and "def:" not in o.summary
    ]


async def test_a_file_that_is_named_is_shown_without_a_search(deps: AgentDeps) -> None:
    unwrap = fakes.Unwrap()
    answer = (await ask(deps, "show me sweeper.py:9-10", unwrap=unwrap)).output
    assert "`app/sweeper.py:9-10`:" in answer
    assert [name for name, _ in unwrap.outcomes] == ["read_file"]
    assert "There is no file gone.py" in (await ask(deps, "show me gone.py")).output


PATCH = "\n".join(
    f"diff --git a/{path} b/{path}\nindex 1234567..89abcde 100644\n--- a/{path}\n+++ b/{path}\n"
    f"@@ -1,2 +1,2 @@ {where}\n context of `a patch`\n-purple elephants\n+purple = 'elephants'"
    for path, where in (
        ("app/sweeper.py", "def sweep(self, now: float) -> int:"),
        ("app/store.py", "def delete_session(session):"),
        ("app/main.py", ""),
        ("app/markup.py", ""),
        ("tests/test_sweeper.py", "def test_sweep():"),
    )
)


async def test_a_patch_is_looked_at_by_the_files_it_changes_and_no_call_is_made_twice(deps: AgentDeps) -> None:
    piped = f"commit 0123456789abcdef\nAuthor: Ann <ann@example.org>\nDate:   Mon\n\n    Sweep later\n\n{PATCH}\n"
    for prompt in (f"what could this break?\n\n{piped}", "look at " + ", ".join(FILES) + " for idle sessions"):
        result = await ask(deps, prompt)
        made = [(name, json.dumps(args)) for _, name, args in calls(result.all_messages())]
        assert len(set(made)) == len(made) <= 12, made
        assert "app/sweeper.py" in result.output
        assert "elephants" not in str(made) and "0123456789" not in str(made) and "ann@" not in str(made)


async def test_a_plan_is_asked_for_and_made(deps: AgentDeps) -> None:
    unwrap = fakes.Unwrap()
    answer = (await ask(deps, "Make a plan to log every deleted session", unwrap=unwrap)).output
    plans = [o.events[0] for name, o in unwrap.outcomes if name == "create_plan"]
    assert len(plans) == 1
    assert plans[0].title == "Log every deleted session"
    assert len(plans[0].steps) >= 3
    assert f"1. {plans[0].steps[0].title}" in answer


async def test_a_vague_prompt_is_asked_back_and_the_answer_is_what_is_searched(deps: AgentDeps) -> None:
    deps.durable = fakes.FakeDurable({"ask:1:off_0_0": "the sweeper"})
    answer = (await ask(deps, "fix it")).output
    assert deps.durable.asked[0][1].startswith("What in the code base is it about?")
    assert "`Sweeper`" in answer


async def test_a_greeting_is_answered_with_what_it_can_do(deps: AgentDeps) -> None:
    result = await ask(deps, "hi")
    assert "Where are idle sessions cleaned up?" in result.output
    assert len(result.all_messages()) == 2


async def test_an_overview_quotes_the_readme_and_the_map(deps: AgentDeps) -> None:
    deps.repo_map = "app/sweeper.py:\n  6 class Sweeper"
    answer = (await ask(deps, "What does this project do?")).output
    assert "> A small server that keeps sessions." in answer
    assert "  6 class Sweeper" in answer


async def test_nothing_found_says_what_was_tried(deps: AgentDeps) -> None:
    answer = (await ask(deps, "unobtainium capacitor")).output
    assert (
        "Nothing in this code base matches. I searched for `unobtainium capacitor`, `unobtainium`, `capacitor`."
        in answer
    )


async def test_a_search_that_fails_does_not_end_the_run(deps: AgentDeps, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*args: Any) -> None:
        raise ReconveneError("search_failed", "The index is being repaired.")

    monkeypatch.setattr(searching, "lookup_or_search", broken)
    answer = (await ask(deps, "Where are pending sessions swept?")).output
    assert "I could not look: The index is being repaired." in answer


async def test_text_that_looks_like_the_agent_library_s_markup_is_only_text(deps: AgentDeps) -> None:
    """The library adds a note to such results; it must not be taken for a person's prompt."""
    answer = (await ask(deps, "What is MARKUP?")).output
    assert "`MARKUP`" in answer


@pytest.mark.parametrize(
    "prompt",
    [
        "Where are pending sessions swept?",
        "How does the sweeper delete sessions?",
        "Plan a faster sweep",
        "Who calls sweep?",
        "overview",
    ],
)
async def test_the_same_history_gives_the_same_answer_from_every_cut(deps: AgentDeps, prompt: str) -> None:
    whole = await ask(deps, prompt)
    messages = ModelMessagesTypeAdapter.validate_json(ModelMessagesTypeAdapter.dump_json(whole.all_messages()))
    again = await ask(deps, prompt)
    assert calls(again.all_messages()) == calls(messages)
    assert again.output == whole.output
    for cut in range(1, len(messages)):
        resumed = await ask(deps, None, messages[:cut])
        assert resumed.output == whole.output, cut
        assert calls(resumed.all_messages()) == calls(messages), cut


async def test_a_step_whose_results_are_known_in_part_is_finished(deps: AgentDeps) -> None:
    """A crash between two results of one response: those recorded are given back, the others are run."""
    whole = (await ask(deps, "How does the sweeper delete pending sessions?")).all_messages()
    cut = next(i for i, m in enumerate(whole) if isinstance(m, ModelResponse) and len(m.tool_calls) > 1)
    returned = {p.tool_call_id: p.content for p in whole[cut + 1].parts if isinstance(p, ToolReturnPart)}
    first, *rest = [c.tool_call_id for c in whole[cut].tool_calls]
    results = DeferredToolResults(calls={first: returned[first]}, approvals=dict.fromkeys(rest, True))
    resumed = await build(offline_model(0)).run(
        None,
        deps=deps,
        message_history=whole[: cut + 1],
        deferred_tool_results=results,
        capabilities=[fakes.Unwrap()],
        event_stream_handler=_ignore,
    )
    assert resumed.output == whole[-1].text


def calls(messages: list[ModelMessage]) -> list[tuple[str, str, Any]]:
    return [
        (c.tool_call_id, c.tool_name, c.args_as_dict())
        for m in messages
        if isinstance(m, ModelResponse)
        for c in m.tool_calls
    ]


async def _ignore(ctx: Any, events: Any) -> None:
    async for _ in events:
        pass


# -- without tools, histories of other models, and time


def test_results_count_in_the_order_of_their_calls() -> None:
    """They may be recorded in any order."""
    asked = ModelRequest(parts=[UserPromptPart("Where is alpha beta?")])
    response = ModelResponse(parts=[ToolCallPart("search", {"query": q}, q) for q in ("alpha beta", "alpha")])
    found = [
        ToolReturnPart("search", "1 place\n\n## b.py:1-1 other\n1| alpha = beta = 1", "alpha"),
        ToolReturnPart("search", "1 place\n\n## a.py:1-1 alpha\n1| alpha = beta = 1", "alpha beta"),
    ]
    moves = [next_move([asked, response, ModelRequest(parts=parts)]) for parts in (found, found[::-1])]
    assert moves[0] == moves[1]


@pytest.mark.parametrize(
    "prompt", ["Where is it?", "plan something", "fix it", "overview", "hi", "show me a.py", "who calls x?", ""]
)
def test_without_tools_it_still_answers(prompt: str) -> None:
    move = next_move([ModelRequest(parts=[UserPromptPart(prompt)])], ())
    assert isinstance(move, Say)
    assert move.text.strip()


def test_a_history_of_another_model_is_no_obstacle() -> None:
    history: list[ModelMessage] = [
        ModelRequest(parts=[UserPromptPart(["Where is", " alpha?"])]),
        ModelResponse(parts=[ToolCallPart("search", "{broken", "c"), ToolCallPart("strange", {}, "d")]),
        ModelRequest(parts=[ToolReturnPart("search", {"a": [1]}, "c"), ToolReturnPart("unasked", "x", "e")]),
        ModelRequest(parts=[UserPromptPart("Where is beta?")]),
    ]
    assert next_move(history) == Do((("search", {"query": "beta"}),))
    assert isinstance(next_move([]), Do | Say)


async def test_words_come_one_by_one_and_lose_nothing(monkeypatch: pytest.MonkeyPatch, deps: AgentDeps) -> None:
    pauses: list[float] = []
    real = asyncio.sleep

    async def sleep(seconds: float, *args: Any) -> None:
        pauses.append(seconds)
        await real(0)

    monkeypatch.setattr(offline.asyncio, "sleep", sleep)
    monkeypatch.setenv("RECONVENE_OFFLINE_DELAY_MS", "7")
    result = await fakes.drive(build(offline_model()), "hi", deps)
    said = next_move([ModelRequest(parts=[UserPromptPart("hi")])])
    assert isinstance(said, Say)
    assert result.output == said.text
    assert pauses.count(0.007) > 20


def test_a_delay_that_is_no_number_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECONVENE_OFFLINE_DELAY_MS", "soon")
    assert offline._delay() == offline.DELAY_MS
    assert json.dumps(os.environ["RECONVENE_OFFLINE_DELAY_MS"]) == '"soon"'


@pytest.mark.parametrize(
    "prompt", ["Fix the sweeper", "please rename Hub.publish to send", "Could you add a test for the hub?"]
)
def test_asked_to_change_code_it_says_that_it_cannot(prompt: str) -> None:
    from pydantic_ai.messages import ModelRequest, UserPromptPart

    from reconvene.agents.compose import READS_ONLY

    move = next_move([ModelRequest([UserPromptPart(prompt)])], tools=())
    assert isinstance(move, Say) and move.text.startswith(READS_ONLY)
    looked = next_move([ModelRequest([UserPromptPart("Where are changes fixed?")])], tools=())
    assert isinstance(looked, Say) and READS_ONLY not in looked.text
