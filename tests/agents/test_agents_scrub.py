import pytest

from reconvene.agents.scrub import scrub, scrub_json


@pytest.mark.parametrize(
    ("dirty", "clean"),
    [
        ("\ud83d\ude00 and \ud800", "😀 and \ufffd"),
        ("a\x00b", "ab"),
        ("\x1b[1;31mred\x1b[0m \x1b]0;title\x07x \x1b]8;;http://h\x1b\\link", "red x link"),
        ("line\r\nline\ttab\x07", "line\nline\ttab"),
        ("<b>&amp;</b> ![x](http://h)", "<b>&amp;</b> ![x](http://h)"),
    ],
    ids=["bad123-surrogates", "bad123-nul", "bad123-ansi", "bad123-control", "bad123-html-is-text"],
)
def test_scrub(dirty: str, clean: str) -> None:
    assert scrub(dirty) == clean
    assert scrub_json({dirty: [dirty, 1, None]}) == {clean: [clean, 1, None]}
    clean.encode()


def test_clean_text_is_left_as_it_is() -> None:
    text = "def f():\n\treturn 'ü😀'\n"
    assert scrub(text) is text
