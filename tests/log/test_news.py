"""What a commit tells the other nodes: it fits in a NOTIFY, and the rows that come with it are those that were written."""

from __future__ import annotations

import json
from dataclasses import replace

import hypothesis.strategies as st
from hypothesis import given, settings

from reconvene.log.port import Row
from reconvene.log.postgres import news

ROW = Row("s_a", 7, "text", '{"text": "a"}', "r1", "r1.0", None, None, True, False, 1234567890.123456, "0123abcd")
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=2500)
names = st.none() | texts


@st.composite
def rows(draw: st.DrawFn) -> list[Row]:
    first = draw(st.integers(1, 2**32))
    made = st.builds(
        replace, st.just(ROW), type=texts, content=texts.map(lambda text: json.dumps({"text": text}, ensure_ascii=False)),
        run_id=names, item_id=names, parent_id=names, key=names, public=st.booleans(), stateful=st.booleans(),
        at=st.floats(0, 1e11),
    )  # fmt: skip
    return [replace(row, seq=first + n) for n, row in enumerate(draw(st.lists(made, min_size=1, max_size=5)))]


@given(rows())
def test_rows_come_as_they_were_written_or_are_to_be_read(written: list[Row]) -> None:
    line = news.told("s_a", written)
    session, first, last, *rest = line.split(" ", 3)
    assert (session, int(first), int(last)) == ("s_a", written[0].seq, written[-1].seq)
    assert "\n" not in line and "\0" not in line
    for text in rest:
        assert news.heard("s_a", text) == written
    assert rest or len(json.dumps([row.content for row in written], ensure_ascii=False).encode()) > news.ROWS // 2


@settings(max_examples=40)
@given(st.lists(rows(), max_size=8))
def test_a_payload_is_as_large_as_postgresql_takes(commits: list[list[Row]]) -> None:
    lines = [news.told(f"s_{n}", written) for n, written in enumerate(commits)]
    packed = news.payloads("0a1b2c3d", lines)
    assert all(len(payload.encode()) < 8000 for payload in packed)
    assert all(payload.split("\n")[0] == "0a1b2c3d" for payload in packed)
    assert [line for payload in packed for line in payload.split("\n")[1:]] == lines


def test_what_is_small_comes_along_and_what_is_large_does_not() -> None:
    small, large = [replace(ROW, content=json.dumps("ä" * n, ensure_ascii=False)) for n in (2_000, 4_000)]
    assert news.told("s_a", [small]).count(" ") > 2
    assert news.told("s_a", [large]) == "s_a 7 7"
