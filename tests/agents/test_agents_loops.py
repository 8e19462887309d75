from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)

from reconvene.agents import loops


def asked(text: str = "q") -> ModelRequest:
    return ModelRequest(parts=[UserPromptPart(text)])


def step(*calls: ToolCallPart) -> list[ModelMessage]:
    return [
        ModelResponse(parts=list(calls)),
        ModelRequest(parts=[ToolReturnPart(c.tool_name, "r", c.tool_call_id) for c in calls]),
    ]


def call(i: int, args: object = '{"query": "x", "limit": 8}', name: str = "search") -> ToolCallPart:
    return ToolCallPart(name, args, f"c{i}")  # type: ignore[arg-type]


def test_the_same_arguments_written_otherwise_are_the_same_call() -> None:
    assert loops.fingerprint(call(1)) == loops.fingerprint(call(2, {"limit": 8, "query": "x"}))
    assert loops.fingerprint(call(1)) != loops.fingerprint(call(1, name="read_file"))
    assert loops.fingerprint(call(1, '{"query": "x')) != loops.fingerprint(call(1, '{"query": "x"'))


def test_a_call_counts_once_a_response_and_from_the_last_prompt_on() -> None:
    history = [asked(), *step(call(0)), *step(call(1), call(2)), *step(call(3, '{"query": "y"}'))]
    assert loops.repetitions([*history, ModelResponse(parts=[call(4)])], "c4") == 3
    assert loops.repetitions([*history, asked("go on"), ModelResponse(parts=[call(4)])], "c4") == 1


def test_a_runaway_is_the_call_that_came_ten_times() -> None:
    history: list[ModelMessage] = [asked()]
    for i in range(loops.STOP_AT):
        assert loops.runaway(history) is None
        history += step(call(i), call(100 + i, f'{{"query": "{i}"}}'))
    found = loops.runaway(history)
    assert found is not None
    assert found.tool_name == "search"
    assert loops.runaway(history, loops.STOP_AT * 2) is None
    assert loops.runaway([*history, asked("steered")]) is None


def test_calls_over_the_cap_are_not_counted_as_spent() -> None:
    many = [call(i, f'{{"query": "{i}"}}') for i in range(50)]
    history = [asked(), ModelResponse(parts=[TextPart("well"), *many])]
    assert loops.spent(history, 16) == 16
    assert loops.within(history, "c15", 16)
    assert not loops.within(history, "c16", 16)
