"""A model of 135 million parameters: its answers mean nothing, but its tokens are real. What is asserted is what the product promises."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from asked import answered, ask, completed, of, server_of, streamed, until, without_gaps
from bench.eval.local_model import LocalModel
from real_server import Server

pytestmark = pytest.mark.timeout(1200)
PATIENCE = 500.0
"""Seconds; on a quiet machine an answer takes five."""


@pytest.fixture(scope="module")
def server(small: LocalModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = server_of(small, tmp_path_factory.mktemp("server"), constrained=False)
    made.start()
    yield made
    made.close()


def test_tokens_stream_and_are_counted(server: Server) -> None:
    session = ask(server, "Hello!")
    events = until(server, session, completed(), PATIENCE)
    [done] = of(events, "completed")
    assert done["content"]["outcome"] == "success", done
    assert without_gaps(events)
    pieces = of(events, "text")
    assert len(pieces) > 2
    assert pieces[-1]["at"] > pieces[0]["at"], "they came one after the other"
    assert answered(events) == [streamed(events).strip()]
    usage = of(events, "usage")[-1]["content"]
    assert usage["input_tokens"] > 200
    assert usage["output_tokens"] >= len(pieces) / 2
    assert not usage["estimated"]

    ask(server, "Hello again!", session)
    events = until(server, session, completed(2), PATIENCE)
    cached = of(events, "usage")[-1]["content"]["cache_read_tokens"]
    assert cached > 100, "the second prompt begins as the first, so the model's server need not read it again"


def test_killed_in_the_middle_of_a_word_it_goes_on(server: Server) -> None:
    session = ask(server, "Tell me in three sentences what a lighthouse is.")
    before = until(server, session, lambda events: len(of(events, "text")) >= 4, PATIENCE)
    assert not of(before, "completed")
    server.kill()
    server.start()
    events = until(server, session, completed(), PATIENCE)
    assert without_gaps(events)
    assert events[: len(before)] == before, "what was shown stays"
    [done] = of(events, "completed")
    assert done["content"]["outcome"] == "success", done
    attempts = [e["content"]["attempt"] for e in of(events, "text")]
    assert attempts == sorted(attempts) and attempts[-1] > 1
    assert answered(events) == [streamed(events, attempts[-1]).strip()], "the answer is that of one attempt, whole"
