"""Paths: what is refused before the disk is asked, and the shown form that reads back."""

from __future__ import annotations

import doctest
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconvene.errors import ReconveneError
from reconvene.workspace import names
from reconvene.workspace.names import decode, display_path, parse_path, parts


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("../x", "path_outside_root"),
        ("/etc/passwd", "path_outside_root"),
        ("a/../../x", "path_outside_root"),
        ("a/../b", "path_outside_root"),
        ("a/..", "path_outside_root"),
        ("//x", "path_outside_root"),
        ("a\0b", "invalid_path"),
        ("", "invalid_path"),
        ("a\ud800", "invalid_path"),
        ("x" * 256, "name_too_long"),
        ("ü" * 128, "name_too_long"),
        ("a/" * 2048 + "f", "name_too_long"),
    ],
    ids=[
        "bad74-dotdot", "bad74-absolute", "bad74-dotdot-twice", "bad74-dotdot-inside", "bad74-dotdot-last", "bad74-two-slashes",
        "bad80-nul", "bad80-empty", "bad80-lone-surrogate", "bad81-name-256", "bad81-name-256-bytes", "bad81-path-4097",
    ],
)  # fmt: skip
def test_a_path_that_cannot_be_inside_is_refused(path: str, code: str) -> None:
    with pytest.raises(ReconveneError) as e:
        parts(path)
    assert e.value.code == code
    json.dumps(e.value.content(), ensure_ascii=False).encode()  # whatever the path, the refusal can be sent


def test_a_path_is_taken_apart() -> None:
    assert parts("a/b.py") == parts("./a//b.py") == parts("a/./b.py/") == ["a", "b.py"]
    assert parts("..a/...") == ["..a", "..."]
    assert parts(".") == []
    assert parts("x" * 255) == ["x" * 255]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("src/über/日本語 (1).py", "src/über/日本語 (1).py"),
        ("b\udcff.py", r"b\xff.py"),
        ("a\nb\x1b[31m\x7f", r"a\x0ab\x1b[31m\x7f"),
        ("photo\u202egnp.exe", r"photo\u202egnp.exe"),
        ("ad\u200bmin\u2060\ufeff", r"ad\u200bmin\u2060\ufeff"),
        ("x\u0085\u00a0\u2028", r"x\u0085\u00a0\u2028"),
        ("tag\U000e0041\ufe0f\u3164", r"tag\U000e0041\ufe0f\u3164"),
        ("back\\slash", r"back\\slash"),
    ],
    ids=[
        "plain",
        "bad82-bytes",
        "bad83-control",
        "bad83-bidi",
        "bad83-zero-width",
        "bad83-spaces",
        "bad83-unseen",
        "backslash",
    ],
)
def test_a_name_is_shown_in_the_open_and_reads_back(path: str, text: str) -> None:
    assert display_path(path) == text
    assert parse_path(text) == path
    text.encode()


@given(
    st.lists(
        st.one_of(st.binary(max_size=6), st.text(max_size=6).map(lambda s: s.encode("utf-8", "replace"))), max_size=6
    )
)
def test_every_name_of_the_disk_reads_back(pieces: list[bytes]) -> None:
    path = decode(b"".join(pieces))
    text = display_path(path)
    assert parse_path(text) == path
    assert text.isprintable()
    text.encode()


@given(st.text(alphabet="\\xuU0123456789abcdefé\udc80/", max_size=12))
def test_text_that_is_never_shown_is_a_path_as_it_stands(text: str) -> None:
    parsed = parse_path(text)
    assert parsed == text or display_path(parsed) == text


def test_examples() -> None:
    assert doctest.testmod(names).failed == 0
