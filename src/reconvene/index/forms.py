"""The other ways in which a word may be written: as one word or as two, and short for long where a file is named.

Who asks for a `file name` means `filename` as well, and who asks for `filename` means `file_name` and `fileName`: these are one word,
whose places are counted together. A file about authentication may be named `auth.py`; in texts the short forms stand for too much (`str`
and `arg` are everywhere), so they count for names of files alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from reconvene.index.words import counts_as_term, stem, whole

_SHORT = """
    addr address; admin administrator administration; alloc allocate allocation; app application; arg args argument; async asynchronous;
    attr attribute; auth authentication authorization authenticate authorize; buf buffer; cert certificate; char character;
    cmd command; col column; config configuration configure conf cfg; conn connection connect; cred credential;
    ctx context; db database; del delete; dep dependency; desc description descriptor; dev development; dir directory;
    doc docs documentation;
    elem element; env environment; err error; eval evaluate evaluation; exc exception; exec execute execution; expr expression;
    ext extension; fmt format; func function fn; gen generate generator generation; id identifier; idx index; impl implementation;
    info information; init initialize initialise initialization; int integer; iter iterate iteration; lang language; len length;
    lib library; max maximum; mem memory; meta metadata; min minimum; mod module; msg message; net network; ns namespace;
    num number; obj object; op operation operator; opt option; orig original; param parameter; perm permission; pkg package;
    pos position; prev previous; prod production; prop property; proc process; ptr pointer; pwd password; ref reference; regex regexp;
    rel relative relation; repo repository; req request; res resp response; sec second; sep separator; seq sequence; sig signature;
    spec specification; src source; stat statistic; std standard; stmt statement; str string; sub subscription; sync synchronize
    synchronization; sys system; temp temporary tmp; tx transaction; tz timezone; url uri; util utility; val value; var variable;
    ver version; ws websocket
"""


def _table() -> dict[str, tuple[str, ...]]:
    found: defaultdict[str, dict[str, None]] = defaultdict(dict)
    for group in _SHORT.split(";"):
        short, *others = map(stem, group.split())
        for other in others:
            if other != short:
                found[other][short] = found[short][other] = None
    return {word: tuple(forms) for word, forms in found.items()}


_TABLE = _table()


def in_names(stemmed: str) -> tuple[str, ...]:
    """The short forms of a stem, or what it is short for.

    >>> in_names("authent"), in_names("cooki")
    (('auth',), ())
    """
    return _TABLE.get(stemmed, ())


def joined(text: str) -> tuple[str, ...]:
    """Of an identifier of several parts (see `words`): the one word that it may be written as.

    >>> joined("=filename")
    ('filenam',)
    """
    word = text[1:]
    return (stem(word),) if text.startswith("=") and counts_as_term(word) else ()


def parted(parts: Iterable[str]) -> dict[str, str]:
    """For the stem of each of these words: the identifier of several parts that it may be written as. Of verbs with an ending, none.

    >>> parted(["filenames", "caching"])
    {'filenam': '=filename'}
    """
    found = {}
    for part in parts:
        one, stemmed = part.removesuffix("s") if not part.endswith("ss") else part, stem(part)
        plain = one in (stemmed, f"{stemmed}e") or (stemmed.endswith("i") and one == f"{stemmed[:-1]}y")
        if plain and one.isalpha() and (identifier := whole(one)):
            found[stemmed] = identifier
    return found
