"""A cursor is read back as it was written, and nothing else is one."""

from __future__ import annotations

import base64
import doctest

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconvene.errors import ReconveneError
from reconvene.protocol import cursor, follower, sentences, view
from reconvene.protocol.cursor import Cursor

EPOCHS = st.text("abcXYZ019_-", min_size=1, max_size=32)
TAGS = st.text("0123456789abcdef", min_size=8, max_size=8)


@given(EPOCHS, st.integers(0, 10**15 - 1), TAGS)
def test_there_and_back(epoch: str, seq: int, tag: str) -> None:
    made = Cursor(epoch, seq, tag)
    assert Cursor.parse(str(made)) == made


@settings(max_examples=300)
@given(
    st.text(max_size=120)
    | st.binary(max_size=60).map(lambda b: base64.urlsafe_b64encode(b).decode())
    | st.none()
    | st.integers()
)
def test_bad59_anything_else_is_refused(text: object) -> None:
    try:
        made = Cursor.parse(text)
    except ReconveneError as e:
        assert (e.code, e.details) == ("invalid_field", {"path": "config.cursor"})
    else:
        assert Cursor.parse(str(made)) == made


@pytest.mark.parametrize(
    "plain", ["", "e1.7", "e1.7.0A0B0C0D", "e1.-7.0a0b0c0d", "e1.7.0a0b0c0d.", "e1.\u0667.0a0b0c0d", "e1.7.0a0b0c0d\n"]
)
def test_bad59_near_misses(plain: str) -> None:
    with pytest.raises(ReconveneError):
        Cursor.parse(base64.urlsafe_b64encode(plain.encode()).decode().rstrip("="))


def test_the_examples_in_the_docstrings() -> None:
    for module in (cursor, follower, sentences, view):
        assert doctest.testmod(module).failed == 0
