"""What a search asks for, read from its text. The text is data: no option, pattern or query language can hide in it.

Understood are words and identifiers, `"quoted phrases"`, `re:pattern` and `re:"a pattern"` (RE2's syntax, one line at a time, case as
written), `def:Name` and `uses:Name`, and the filters `path:src/`, `-path:test`, `lang:py`, `-lang:md`. Everything else is words, and so is
what stands in quotes within a sentence.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import Protocol

from reconvene.config import Limits
from reconvene.errors import ReconveneError
from reconvene.index.forms import in_names, joined, parted
from reconvene.index.languages.registry import language_named, language_of
from reconvene.index.words import WORD, counts_as_term, parts, stem, symbol_term, term, whole

_PIECE = re.compile(
    r'(?<!\S)re:(?:"(?P<spaced>[^"]+)"(?!\S)|(?P<pattern>\S+))'
    r'|(?P<not>-)?(?P<field>path|lang|def|uses):(?:"(?P<quoted>[^"]*)"|(?P<bare>[^\s"]+))|"(?P<phrase>[^"]+)"'
)
_SEPARATORS = re.compile(r"::|\.|->|#")
_ONE_NAME = re.compile(r"\s*[^\W\d]\w*(?:(?:::|\.|->|#)[^\W\d]\w*)*(?:\(\))?\s*")
_CODE_LIKE = re.compile(r"[a-z][A-Z]|_|[A-Z]{2,}[a-z]|\d")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _stems(text: str) -> frozenset[str]:
    return frozenset(map(stem, text.split()))


STOP = _words("""
    a an the and or of to in on for with without is are was were be been being it its this that these those as at by from into if then than
    so do does did done not no nor but when while which who whom whose what where why how can could should would shall may might must we you
    i they he she them his her our your their there here also only just very more most some any all each every other such same own too via
    per e g etc about after before between both during over under again further once up down out off above below because until against now
    new
""")
# The verbs and nouns that every change and every question has: they say little of where.
GENERIC = _stems("""
    fix add support allow make use remove update change improve ensure handle prevent avoid set get return also now when new feature feat
    bug issue case correct properly instead implement introduce enable option via call one two way need want see like using used work
    without
""")
_STOPPED = STOP | frozenset(map(stem, STOP))
_GENERIC_WEIGHT = 0.3
_SAID_AGAIN = 1.4
"""Weight of a word of the first sentence that what follows takes up: it is what the whole is about."""
_AREA_WEIGHT = 1.5
"""Of a word before a colon at the beginning, `parser: …`: it names the part of the code base that the rest is about."""
_AFTERWARDS = 0.7
"""Of a word that only stands after the first sentence: that says what, what follows says why."""
_AREA = re.compile(r"\s*[\w./-]+(?:\([^()]*\))?:\s")
_FIRST = re.compile(r".*?(?:[.!?](?=\s)|\n|\Z)", re.DOTALL)
_SENTENCE = 4
_SHORT_SENTENCE = 2
"""Words besides the quoted ones that make a text a sentence; the same when there are `with` or `the` or `to` among them, which nobody
searches for."""
_ASKS = {
    "test": _stems("test tests testing spec specs fixture fixtures unittest pytest conftest benchmark"),
    "docs": _stems("doc docs documentation readme guide tutorial example examples changelog documented"),
}


class LinePattern(Protocol):
    """A compiled regular expression, of either engine."""

    def search(self, text: str, /) -> object: ...


@dataclass(frozen=True, slots=True)
class Weighted:
    """A term to look for, and how much it counts. `text`: what the term is the number of, where that is known.

    `others`: what the terms of the same word written otherwise are the numbers of; `in_names`: of what a file may be named for it (see
    `forms`).
    """

    term: int
    weight: float
    text: str = field(default="", compare=False)
    others: tuple[str, ...] = ()
    in_names: tuple[str, ...] = ()

    @property
    def in_texts(self) -> tuple[tuple[int, str], ...]:
        """Its terms and what they are the numbers of, this one first."""
        return ((self.term, self.text), *((term(form), form) for form in self.others))


@dataclass(frozen=True)
class Query:
    """`terms`, by number, each once: what ranking reads, in an order that does not depend on how the words stood.

    `names`: identifiers that may be a definition's exact name; `single`: the query is one identifier and nothing else.
    `phrases`: literal text that a line must have; `patterns`: what one must match; `using`: names that one must mention other than to
    define them. `defining`: `def:` names, of which a file must define all. `area`: those of the terms that name a part of the code base.
    `paths`, `languages`: filters to keep, `not_paths`, `not_languages`: to leave out. `roles`: kinds of files that are asked for.
    """

    text: str
    terms: tuple[Weighted, ...]
    names: tuple[str, ...]
    single: bool
    phrases: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    using: tuple[str, ...] = ()
    defining: tuple[str, ...] = ()
    area: frozenset[int] = frozenset()
    paths: tuple[str, ...] = ()
    not_paths: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    not_languages: tuple[str, ...] = ()
    roles: frozenset[str] = frozenset()

    @cached_property
    def key(self) -> tuple[object, ...]:
        """Two queries with the same key are answered alike: it is all that ranking and choosing read, and no more."""
        terms = tuple((t.term, t.weight, t.others, t.in_names) for t in self.terms)
        filters = (
            self.phrases,
            self.patterns,
            self.using,
            self.defining,
            self.paths,
            self.not_paths,
            self.languages,
            self.not_languages,
        )
        return (terms, self.names, self.single, filters, tuple(sorted(self.roles)), tuple(sorted(self.area)))

    @cached_property
    def concerns(self) -> frozenset[int] | None:
        """Terms of which a file must have one for the answer to depend on it; None when it may depend on any file."""
        terms = {t.term for t in self.terms} | {symbol_term(n) for n in self.symbols}
        terms |= {term(form) for t in self.terms for form in (*t.others, *t.in_names)}
        if not terms:
            terms = set().union(*map(required_terms, self.phrases))
        return frozenset(terms) or None

    @cached_property
    def texts(self) -> dict[int, str]:
        """What each of the terms that are looked for in texts is the number of."""
        return {t: text for wanted in self.terms for t, text in wanted.in_texts}

    @cached_property
    def symbols(self) -> tuple[str, ...]:
        """Names whose exact definitions are looked for."""
        return tuple(sorted({*self.names, *self.defining}))

    def wants(self, path: str) -> bool:
        """Whether the path and language filters leave a file in."""
        return bool(self.wanted_of([path]))

    def wanted_of(self, paths: Sequence[str]) -> list[int]:
        """The numbers of those files that the path and language filters leave in."""
        found = list(range(len(paths)))
        if self.languages or self.not_languages:
            named = [language_of(path).name for path in paths]
            found = [i for i in found if named[i] not in self.not_languages]
            if self.languages:
                found = [i for i in found if named[i] in self.languages]
        lower = [path.lower() for path in paths]
        for pattern in self.paths:
            fits = _fitting(pattern)
            found = [i for i in found if fits(lower[i])]
        for pattern in self.not_paths:
            fits = _fitting(pattern)
            found = [i for i in found if not fits(lower[i])]
        return found

    @property
    def by_lines(self) -> bool:
        """Whether it asks for certain lines."""
        return bool(self.phrases or self.patterns or self.using)

    @property
    def filtered(self) -> bool:
        return bool(self.paths or self.not_paths or self.languages or self.not_languages)


def parse(text: str, limits: Limits) -> Query:
    """
    Raises:
        ReconveneError: `invalid_field` (nothing to look for, NUL), `pattern_too_big` (over `limits.pattern` bytes).
    """
    if "\0" in text:
        raise ReconveneError("invalid_field", "The search holds a NUL character. Leave it out.", field="query")
    if not text.strip():
        raise ReconveneError("invalid_field", "The search is empty. Write words or names to look for.", field="query")
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > limits.pattern:
        # Far over the limit it is no pattern at all, but something that was pasted or sent by mistake.
        code = "invalid_field" if size > 8 * limits.pattern else "pattern_too_big"
        sentence = f"The search has {size:,} bytes; the limit is {limits.pattern:,}. Search for its most telling words."
        raise ReconveneError(code, sentence, field="query", limit=limits.pattern)
    found: dict[str, list[str]] = {}
    phrases: list[str] = []
    patterns: list[str] = []

    def take(m: re.Match[str]) -> str:
        if m["phrase"] is not None:
            if m["phrase"].strip():
                phrases.append(" ".join(m["phrase"].split()))
            return f" {m['phrase']} "
        if (pattern := m["spaced"] or m["pattern"]) is not None:
            compiled(pattern)
            patterns.append(pattern)
            return " "
        value = (m["quoted"] if m["quoted"] is not None else m["bare"]).strip()
        if m["field"] == "lang":
            value = language_named(value) or ""
        if not value or (m["field"] in ("def", "uses") and (m["not"] or not re.fullmatch(r"[\w.:#$>-]+", value))):
            return f" {m[0]} "  # no filter that we know: words
        found.setdefault(("-" if m["not"] else "") + m["field"], []).append(value)
        return f" {value} " if m["field"] == "uses" else " "

    rest = _PIECE.sub(take, text)
    if _is_prose(text):
        phrases.clear()
    defining, using = (tuple(sorted({_SEPARATORS.split(n)[-1] for n in found.get(f, ())})) for f in ("def", "uses"))
    terms = _terms(rest)
    names, single = _names(rest)
    if not (terms or names or phrases or patterns or using or defining):
        what = "The search has filters, but nothing to look for" if found else "The search has no word and no name"
        raise ReconveneError("invalid_field", f"{what}. Add words or names.", field="query")

    def values(field: str, *, lower: bool = True) -> tuple[str, ...]:
        return tuple(sorted({v.lower() if lower else v for v in found.get(field, ())}))

    asked = {stem(p) for word in WORD.findall(rest) for p in parts(word)}
    return Query(
        text=text,
        terms=terms,
        names=names,
        single=single and not found and not phrases and not patterns,
        phrases=tuple(sorted(set(phrases))),
        patterns=tuple(sorted(set(patterns))),
        using=using,
        defining=defining,
        paths=values("path"),
        not_paths=values("-path"),
        languages=values("lang"),
        not_languages=values("-lang"),
        roles=frozenset(role for role, words in _ASKS.items() if asked & words),
        area=frozenset(term(name) for name in _area(rest) - GENERIC),
    )


def _is_prose(text: str) -> bool:
    """Whether what is quoted in a text stands in a sentence: a name, or an error's words, that its writer set apart. The code need not
    have it so; what is asked for in quotes is asked for with few words besides, and with none that only sentences have."""
    around = WORD.findall(_PIECE.sub(" ", text))
    telling = sum(word.lower() not in STOP for word in around)
    return telling >= (_SENTENCE if telling == len(around) else _SHORT_SENTENCE)


def required_terms(phrase: str) -> frozenset[int]:
    """Terms that every file with the phrase has; none when its words are not indexed."""
    return frozenset(term(stem(p)) for word in WORD.findall(phrase) for p in parts(word) if counts_as_term(p))


@lru_cache(maxsize=64)
def compiled(pattern: str) -> LinePattern:
    """
    Raises:
        ReconveneError: `invalid_field` (not a pattern), `pattern_too_big` (it would take too much memory).
    """
    import re2

    options = re2.Options()
    options.log_errors = False
    try:
        found: LinePattern = re2.compile(pattern, options)
    except UnicodeEncodeError:
        raise ReconveneError(
            "invalid_field", "The pattern after `re:` holds a lone surrogate.", field="query"
        ) from None
    except re2.error as e:
        reason = e.args[0].decode("utf-8", "replace") if e.args and isinstance(e.args[0], bytes) else str(e)
        code = "pattern_too_big" if "too large" in reason or "repetition size" in reason else "invalid_field"
        sentence = f"The pattern after `re:` cannot be used: {reason}. Its syntax is RE2's: no look-around, no back-references."
        raise ReconveneError(code, sentence, field="query") from None
    return found


def of_whole_text(pattern: str) -> LinePattern | None:
    """A pattern that is found in every text of which `pattern` matches a line, so that texts without are passed over at once.

    None when that cannot be said: its anchors or flags tell one line from many.
    """
    if re.search(r"\\[AzZQ]|\(\?(?!:|P?<)", pattern):
        return None
    try:
        return compiled(f"(?m:{pattern})")
    except ReconveneError:
        return None  # it was as large as may be already


def use_pattern(name: str) -> re.Pattern[str]:
    """The name as a whole word, case as written."""
    return re.compile(rf"(?<![\w$]){re.escape(name)}(?![\w$])")


def phrase_pattern(phrase: str) -> re.Pattern[str]:
    """The phrase as it may stand on a line: literally, whole words at its ends, any case, any white space for a blank."""
    body = r"[ \t]+".join(map(re.escape, phrase.split()))
    before = r"(?<!\w)" if re.match(r"\w", phrase) else ""
    after = r"(?!\w)" if re.search(r"\w\Z", phrase) else ""
    return re.compile(before + body + after, re.IGNORECASE)


def _terms(text: str) -> tuple[Weighted, ...]:
    found = _weighted(text, stopped=_STOPPED)
    # "to be or not to be": better its small words than nothing.
    return tuple(sorted((found or _weighted(text, stopped=frozenset())).values(), key=lambda w: w.term))


def _weighted(text: str, stopped: frozenset[str]) -> dict[int, Weighted]:
    """The terms, each with how much it counts: by how telling it is and where it stands."""
    first = _first_sentence(text)
    early = _counted(text[:first], stopped)
    late = _counted(text[first:], stopped) if first < len(text) else {}
    named = _area(text)
    words = {**late, **early}
    identifiers = parted(split[0] for word in WORD.findall(text) if len(split := parts(word)) == 1)
    found: dict[int, Weighted] = {}
    for name, weight in words.items():
        if early and late:
            weight *= _AFTERWARDS if name not in early else _SAID_AGAIN if name in late else 1.0
        forms = joined(name) if name.startswith("=") else (identifiers[name],) if name in identifiers else ()
        found[term(name)] = Weighted(
            term(name),
            weight * _AREA_WEIGHT if name in named else weight,
            name,
            tuple(form for form in forms if form not in words),
            tuple(form for form in in_names(name) if form not in words),
        )
    return found


def _area(text: str) -> set[str]:
    """The words before a colon at the beginning, as stems."""
    area = _AREA.match(text)
    return {stem(p) for word in WORD.findall(area[0]) for p in parts(word)} if area else set()


def _first_sentence(text: str) -> int:
    """Where it ends."""
    first = _FIRST.match(text)
    return first.end() if first else len(text)


def _counted(text: str, stopped: frozenset[str]) -> dict[str, float]:
    """The terms of a text, by what they are, and how much each counts wherever it stands."""
    found: dict[str, float] = {}
    row: list[str | None] = []
    for word in WORD.findall(text):
        split = parts(word)
        if len(split) < 2 and word.lower() in stopped:
            row.append(None)
            continue
        for part in split:
            stemmed = stem(part)
            if counts_as_term(part) and stemmed not in stopped:
                found[stemmed] = _GENERIC_WEIGHT if stemmed in GENERIC else 1.0
        joined = "".join(split)
        if len(split) > 1 and (name := whole(joined)):
            found[name] = 1.0
        row.append(joined)
    # Neighbours may be one identifier: "session store" finds SessionStore, "session store limit" session_store_limit too.
    for several in (*pairwise(row), *zip(row, row[1:], row[2:], strict=False)):
        if all(several) and (joined := "".join(filter(None, several))).isalpha() and (name := whole(joined)):
            found.setdefault(name, 1.0)
    return found


def _names(text: str) -> tuple[tuple[str, ...], bool]:
    """Identifiers that look like names of definitions, and whether the text is just one."""
    if _ONE_NAME.fullmatch(text):
        return (_SEPARATORS.split(text.strip().removesuffix("()"))[-1],), True
    found = [
        w
        for w in WORD.findall(text)
        if len(w) > 2 and (_CODE_LIKE.search(w) or (w[0].isupper() and w.lower() not in STOP))
    ]
    return tuple(sorted(set(found))), False


def _fitting(pattern: str) -> Callable[[str], bool]:
    """Whether a path in small letters fits: a glob of the whole path, of its end or of its beginning; else a part of it ("/src" at its
    beginning or of a folder's name)."""
    if "*" in pattern or "?" in pattern:
        globs = (pattern, f"*/{pattern}", f"{pattern}/*")
        return lambda path: any(fnmatch.fnmatchcase(path, glob) for glob in globs)
    if pattern.startswith("/"):
        return lambda path: pattern in f"/{path}"
    return lambda path: pattern in path
