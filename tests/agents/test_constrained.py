"""Models that write every step by a schema, through the real client and a server of ours that answers as it is told."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import agent_fakes as fakes
import pytest
from pydantic_ai import Agent, RunContext
from pydantic_ai import exceptions as broken
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.tools import ToolDefinition
from test_agents_models import Reply, chat, provider

from reconvene.agents import constrained
from reconvene.agents.models import classify, resolve
from reconvene.agents.orchestrator import build
from reconvene.agents.providers import Providers, provider_of
from reconvene.agents.step_history import as_steps
from reconvene.cli.model import model as model_command
from reconvene.config import Limits
from reconvene.errors import ReconveneError
from reconvene.server.api_models import ModelChange
from reconvene.server.model_choice import change_model

NAME = "constrained:openai:small"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", "none")


def model_at(monkeypatch: pytest.MonkeyPatch, url: str) -> Any:
    monkeypatch.setenv("OPENAI_BASE_URL", f"{url}/v1")
    return resolve(NAME)


def written(step: dict[str, Any] | str, size: int = 3, finish: str | None = "stop") -> Reply:
    """A response of the server, `size` characters a piece."""
    text = step if isinstance(step, str) else json.dumps(step)
    deltas = [{"content": text[i : i + size]} for i in range(0, len(text), size)]
    status, headers, pieces = chat({"role": "assistant"}, *deltas, finish=finish)
    if finish:
        usage = {
            "prompt_tokens": 50,
            "completion_tokens": 7,
            "total_tokens": 57,
            "prompt_tokens_details": {"cached_tokens": 40},
        }
        last = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [], "usage": usage}
        pieces.insert(-1, f"data: {json.dumps(last)}\n\n")
    return status, headers, pieces


def call(tool: str, **arguments: Any) -> dict[str, Any]:
    return {"tool": tool, "arguments": arguments}


READ = call("read_file", path="a.py")
ANSWER = {"answer": "It is 1 (`a.py:1`)."}


def schema_of(request: dict[str, Any]) -> tuple[set[str], bool]:
    """The tools that may be called, and whether an answer may be given."""
    schema = request["response_format"]["json_schema"]["schema"]
    branches = schema.get("anyOf", [schema])
    tools = {b["properties"]["tool"]["enum"][0] for b in branches if "tool" in b["properties"]}
    return tools, any("answer" in b["properties"] for b in branches)


async def test_a_run_in_steps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\n")
    unwrap = fakes.Unwrap()
    async with provider(written(READ), written(ANSWER)) as (it, url):
        agent = build(model_at(monkeypatch, url))
        result = await fakes.drive(agent, "What is x?", fakes.deps_of(tmp_path), unwrap=unwrap)
    assert result.output == ANSWER["answer"]
    assert [name for name, _ in unwrap.outcomes] == ["read_file"]
    first, second = it.requests
    assert not {"tools", "tool_choice", "parallel_tool_calls"} & first.keys()
    assert (first["temperature"], first["stream"]) == (0.0, True)
    tools, answer = schema_of(first)
    assert tools >= {"search", "read_file", "repo_map", "symbol", "ask_user", "create_plan", "update_code"} and answer
    assert schema_of(second) == (tools, answer)
    told = "\n".join(m["content"] for m in first["messages"] if m["role"] == "system")
    assert "- read_file(path: string, start?: integer, end?: integer): Read lines of a file" in told
    assert first["messages"] == second["messages"][: len(first["messages"])], "the server's cache of it holds"
    wrote, heard = second["messages"][-2:]
    assert (wrote["role"], json.loads(wrote["content"])) == ("assistant", READ)
    assert heard["role"] == "user"
    assert heard["content"].startswith("Result of read_file:\n## a.py:1-1\n1| x = 1")
    usage = result.usage
    assert (usage.requests, usage.input_tokens, usage.output_tokens, usage.cache_read_tokens) == (2, 100, 14, 80)


def events_of(log: list[str]) -> Any:
    """An event stream handler that writes down what pydantic-ai tells; what comes in pieces is put together."""

    async def handler(ctx: RunContext[Any], events: Any) -> None:
        async for event in events:
            name = type(event).__name__
            if name == "PartDeltaEvent":
                delta = event.delta
                text = getattr(delta, "content_delta", None) or getattr(delta, "args_delta", None) or ""
                if log and log[-1].startswith(f"delta {event.index} "):
                    log[-1] += text
                else:
                    log.append(f"delta {event.index} {text}")
            elif name in ("PartStartEvent", "PartEndEvent"):
                part = event.part
                log.append(f"{name} {event.index} {part.part_kind} {getattr(part, 'tool_name', '')}")
                begun = getattr(part, "content", None) or getattr(part, "args", None)
                if name == "PartStartEvent" and begun:
                    log.append(f"delta {event.index} {begun}")
            else:
                log.append(name)

    return handler


async def test_events_are_those_of_any_other_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Conformance: the same call and the same answer, from a server that calls tools and from one that writes steps."""
    seen: dict[str, list[str]] = {}
    arguments = json.dumps({"a": 2})
    calling = {"tool_calls": [{"index": 0, "id": "t", "function": {"name": "double", "arguments": ""}}]}
    pieces = [{"tool_calls": [{"index": 0, "function": {"arguments": arguments[i : i + 2]}}]} for i in range(0, 8, 2)]
    native = [chat(calling, *pieces, finish="tool_calls"), chat({"content": "It "}, {"content": "is 4."})]
    steps = [written(call("double", a=2)), written({"answer": "It is 4."})]
    for kind, replies in (("native", native), (NAME, steps)):
        async with provider(*replies) as (_, url):
            monkeypatch.setenv("OPENAI_BASE_URL", f"{url}/v1")
            agent = Agent(resolve(kind.replace("native", "openai:small")))

            @agent.tool_plain
            def double(a: int) -> int:
                return 2 * a

            seen[kind] = []
            result = await agent.run("twice 2", event_stream_handler=events_of(seen[kind]))
            response = result.all_messages()[1]
            assert isinstance(response, ModelResponse)
            assert (response.finish_reason, response.state) == ("tool_call", "complete")
    assert seen[NAME] == seen["native"]
    assert f"delta 0 {arguments}" in seen[NAME]


async def test_the_answer_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    text = 'Line "one"\nand 😀 two.'
    async with (
        provider(written({"answer": text}, size=1)) as (_, url),
        Agent(model_at(monkeypatch, url)).run_stream("q") as run,
    ):
        pieces = [piece async for piece in run.stream_text(delta=True, debounce_by=None)]
    assert "".join(pieces) == text
    assert len(pieces) > len(text) / 2


CUT = json.dumps(call("read_file", path="a.py"))[:-8]


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (written(CUT, finish=None), "provider_unavailable"),
        (written('{"answer": "The VAT ', finish=None), "provider_unavailable"),
        ((200, {"content-type": "text/event-stream"}, ["data: {not json\n\n"]), "provider_unavailable"),
        (written(CUT), "model_misbehaved"),
        (written("I will read a.py first."), "model_misbehaved"),
        (written('```json\n{"tool": "read_file", "arguments": {}}\n```'), "model_misbehaved"),
        (written(""), "model_misbehaved"),
        (written(CUT, finish="length"), "model_misbehaved"),
    ],
    ids=["bad115-call", "bad115-answer", "bad115-garbage", "half", "prose", "fence", "nothing", "length"],
)
async def test_what_is_no_whole_step_runs_no_tool(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, reply: Reply, code: str
) -> None:
    (tmp_path / "a.py").write_text("x = 1\n")
    unwrap = fakes.Unwrap()
    async with provider(reply) as (_, url):
        with pytest.raises(broken.AgentRunError) as caught:
            await fakes.drive(build(model_at(monkeypatch, url)), "q", fakes.deps_of(tmp_path), unwrap=unwrap)
    assert (classify(caught.value).code, unwrap.outcomes) == (code, [])


async def test_control_half_a_step_that_counts_runs_a_tool(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\n")
    monkeypatch.setattr(constrained.StepReader, "end", lambda self: None)
    unwrap = fakes.Unwrap()
    whole_arguments = json.dumps(call("read_file", path="a.py"))[:-1]
    async with provider(written(whole_arguments), written(ANSWER)) as (_, url):
        await fakes.drive(build(model_at(monkeypatch, url)), "q", fakes.deps_of(tmp_path), unwrap=unwrap)
    assert [name for name, _ in unwrap.outcomes] == ["read_file"]


async def test_a_server_that_keeps_to_no_schema_is_told_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async with provider(written("Sure! Let me look.")) as (_, url):
        with pytest.raises(broken.UnexpectedModelBehavior) as caught:
            await fakes.drive(build(model_at(monkeypatch, url)), "q", fakes.deps_of(tmp_path))
    assert "does not enforce the JSON schema" in classify(caught.value).message


async def test_who_repeats_itself_gets_other_choices(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\n")
    steps = [READ, READ, call("symbol", name="x"), READ, READ, ANSWER]
    async with provider(*map(written, steps)) as (it, url):
        agent = Agent(model_at(monkeypatch, url), deps_type=object)
        for name in ("read_file", "symbol"):
            agent.tool_plain(named(name))
        result = await agent.run("What is x?")
    assert result.output == ANSWER["answer"]
    both = {"read_file", "symbol"}
    assert [schema_of(r) for r in it.requests] == [
        (both, True),
        (both, True),
        ({"symbol"}, True),
        ({"symbol"}, True),
        ({"symbol"}, True),
        (set(), True),
    ]
    assert len({json.dumps(r["messages"][0]) for r in it.requests}) == 1, "what is told of the tools stays the same"


def named(name: str) -> Any:
    def tool(path: str = "", name: str = "") -> str:
        return "x = 1"

    tool.__name__ = name
    return tool


async def ask(monkeypatch: pytest.MonkeyPatch, asked: ModelRequestParameters, **settings: Any) -> tuple[set[str], bool]:
    async with provider(written(ANSWER)) as (it, url):
        message: ModelMessage = ModelRequest([UserPromptPart("q")], instructions="Be brief.")
        await model_at(monkeypatch, url).request([message], settings or None, asked)
    assert "Be brief." in it.requests[0]["messages"][0]["content"]
    return schema_of(it.requests[0])


ROUND = "The function is also used in `render`. "


async def test_who_cannot_stop_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small model says the same for ever; nobody waits for its last token."""
    async with provider(written({"answer": "It is in `table.py`. " + ROUND * 200})) as (_, url):
        result = await Agent(model_at(monkeypatch, url)).run("q")
    assert result.output.startswith("It is in `table.py`. The function")
    assert constrained.ROUNDS - 1 <= result.output.count(ROUND) <= constrained.ROUNDS
    [response] = [m for m in result.all_messages() if isinstance(m, ModelResponse)]
    assert (response.finish_reason, response.state) == ("length", "complete")


async def test_a_call_that_cannot_stop_is_not_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    unwrap = fakes.Unwrap()
    async with provider(written(call("search", query=ROUND * 200))) as (_, url):
        with pytest.raises(broken.AgentRunError) as caught:
            await fakes.drive(build(model_at(monkeypatch, url)), "q", fakes.deps_of(tmp_path), unwrap=unwrap)
    assert (classify(caught.value).code, unwrap.outcomes) == ("model_misbehaved", [])


async def test_control_nobody_stops_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constrained, "goes_round", lambda text: False)
    async with provider(written({"answer": ROUND * 200}, size=50)) as (_, url):
        result = await Agent(model_at(monkeypatch, url)).run("q")
    assert result.output.count(ROUND) == 200


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "    " * 200,
        "| - " * 300,
        "=" * 999,
        "\n".join(f"{n}. The function is used in `render`." for n in range(90)),
    ],
)
def test_tables_and_lists_are_no_repetition(text: str) -> None:
    assert not any(constrained.goes_round(text[:end]) for end in range(0, len(text), 7))


async def test_what_may_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    tools = [ToolDefinition(name=n, parameters_json_schema={"type": "object"}) for n in ("look", "draw")]
    result = [ToolDefinition(name="result", parameters_json_schema={"type": "object"}, kind="output")]
    free = ModelRequestParameters(function_tools=tools)
    typed = ModelRequestParameters(
        function_tools=tools, output_tools=result, output_mode="tool", allow_text_output=False
    )
    assert await ask(monkeypatch, free) == ({"look", "draw"}, True)
    assert await ask(monkeypatch, free, tool_choice="none") == (set(), True)
    assert await ask(monkeypatch, free, tool_choice="required") == ({"look", "draw"}, False)
    assert await ask(monkeypatch, free, tool_choice=["draw"]) == ({"draw"}, False)
    assert await ask(monkeypatch, typed) == ({"look", "draw", "result"}, False)
    assert await ask(monkeypatch, ModelRequestParameters()) == (set(), True)


async def test_a_slow_reader_is_waited_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A processor reads a prompt for minutes before it writes; a limit that is meant for services must not cut it."""
    silent: list[Any] = []
    made = constrained._settings

    def noted(settings: Any) -> Any:
        silent.append((made(settings) or {}).get("timeout"))
        return made(settings)

    monkeypatch.setattr(constrained, "_settings", noted)
    async with provider(written(ANSWER)) as (_, url):
        deps = fakes.deps_of(tmp_path, limits=Limits(model_idle=1.0))
        await fakes.drive(build(model_at(monkeypatch, url)), "q", deps)
    assert silent == [constrained.PATIENCE]


def test_a_conversation_of_another_model_is_retold() -> None:
    calls = [ToolCallPart("look", {"q": "é"}, "1"), ToolCallPart("rest", None, "2")]
    came = [ToolReturnPart("look", "found", "1"), ToolReturnPart("rest", "no such thing", "2", outcome="retried")]
    history: list[ModelMessage] = [
        ModelRequest([UserPromptPart("q")]),
        ModelResponse([TextPart("Let me see."), *calls]),
        ModelRequest([*came, UserPromptPart("hurry")]),
        ModelResponse([]),
    ]
    asked, wrote, heard = as_steps(history)
    assert (asked, len(wrote.parts), len(heard.parts)) == (history[0], 1, 1)
    assert [json.loads(line) for line in wrote.parts[0].content.splitlines()] == [  # type: ignore[union-attr]
        {"answer": "Let me see."},
        {"tool": "look", "arguments": {"q": "é"}},
        {"tool": "rest", "arguments": {}},
    ]
    told = heard.parts[0].content  # type: ignore[union-attr]
    assert isinstance(told, str)
    assert told.startswith("Result of look:\nfound\n\nrest did not work:\n")
    assert told.endswith("hurry")


# -- by name


def test_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert provider_of(NAME) == "openai"
    providers = Providers(tmp_path, "offline")
    monkeypatch.delenv("OPENAI_API_KEY")
    change_model(providers, ModelChange(model=NAME, base_url="http://127.0.0.1:11434/v1"), of_page=True)
    model = resolve(providers.model, providers)
    assert isinstance(model, constrained.Constrained)
    assert (model.model_name, model.base_url) == ("small", "http://127.0.0.1:11434/v1/")
    assert model.wrapped.profile["openai_chat_streaming_requires_finish_reason"] is True


@pytest.mark.parametrize(
    "name", ["constrained:", "constrained:offline", "constrained:constrained:openai:x", "constrained:x"]
)
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(ReconveneError) as caught:
        resolve(name)
    assert caught.value.code == "model_unknown"


def test_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    url = "http://127.0.0.1:8080/v1"
    say = partial(model_command, tmp_path, key=False, forget=None, as_json=False)
    for name in ("openai:small", NAME):
        say(name, base_url=url, constrained=True)
        assert "".join(capsys.readouterr()) == f"Model: {NAME}\n  openai: no key, {url}\n"
    with pytest.raises(ReconveneError):
        say(None, base_url=None, constrained=True)
