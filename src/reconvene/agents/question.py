"""What a prompt asks for, as far as words tell: for the offline model, which understands nothing else."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from reconvene.index.words import WORD, parts, stem

Kind = Literal["greeting", "vague", "overview", "plan", "uses", "where", "how", "what"]

_FILLER = frozenset(
    """a about actually all also always am an and another any anything are around as ask at be because been being but by can cannot could
    did do does doing done each either else ever every exactly explain few for from give go goes gone had happen happens has have having
    he hello her here hey hi him his how i if in instead into is it its itself just kind know let like look looks lot many me mean means
    might more most much must my need needs no not of off on once one only onto or other our out over own please point possible really
    same see shall she should since so some somebody someone something such tell than thank thanks that the their them then there these
    they thing things this those through to too under understand up us very via want wants was way we were what when where whether which
    while who whom whose why will with within without would yes yet you your""".split()  # noqa: SIM905
)
"""Words that say nothing of what is looked for."""
_COMMON = frozenset(
    """base class classes code codebase define defined definition definitions describe detail details exist exists file files find first
    function functions get handle handled handles implement implementation implemented line lines list lives located make makes mentioned
    method methods module modules part place places project repo repository responsible show source use used uses using usually work
    works""".split()  # noqa: SIM905
)
"""Words that every question about code has: they count when there are no others."""
_OF_USES = frozenset(
    "call called caller callers calls import imported imports ref reference referenced references usage usages".split()  # noqa: SIM905
)
_OF_PLANS = frozenset("create draft make plan plans prepare propose write".split())  # noqa: SIM905
_VAGUE = frozenset(
    """add better break broken bug bugs change code crash doesn error errors fail fails failing fix improve issue issues optimize problem
    problems refactor wrong""".split()  # noqa: SIM905
)
"""Wishes that do not say of what."""
_IRREGULAR = dict(
    pair.split(":")
    for pair in """began:begin begun:begin bound:bind broke:break broken:break brought:bring built:build bought:buy caught:catch
    chose:choose chosen:choose dealt:deal drawn:draw drew:draw fed:feed fell:fall fallen:fall forgot:forget
    forgotten:forget found:find froze:freeze frozen:freeze gave:give given:give got:get grew:grow grown:grow
    held:hold hid:hide hidden:hide kept:keep knew:know known:know laid:lay led:lead left:leave lost:lose made:make
    met:meet paid:pay ran:run rose:rise sent:send shown:show shut:shut slept:sleep spent:spend split:split
    spoke:speak stole:steal stood:stand stuck:stick swept:sweep taken:take threw:throw thrown:throw told:tell
    took:take thought:think understood:understand went:go woke:wake woken:wake written:write wrote:write
    children:child indices:index matrices:matrix people:person""".split()  # noqa: SIM905
)
"""Forms that no stemmer leads back to how code spells them."""
_GROUPS = """
    create make new mint build add
    delete remove drop purge erase
    start launch begin boot
    stop close shut end quit terminate
    save store persist write record
    read load fetch
    check validate verify ensure
    change edit update modify
    send publish emit deliver dispatch
    find search lookup locate
    parse decode
    show render display print draw
    error exception failure
    config settings configuration options
    authentication login sign credential auth
    clean sweep prune expire
    choose select pick decide
    connect attach join
    limit cap maximum max quota
    folder directory dir
    """
"""Words that different people use for the same: a place that has one of them has the others."""
_SMALL_TALK = frozenset(
    "afternoon cool day evening good great hallo hello help hey hi morning nice ok okay ping test thank thanks there thx yo you".split()  # noqa: SIM905
)
_ABILITIES = re.compile(r"\b(what|how) (can|do|could) (you|i) (do|use|help|ask)\b|\bwho are you\b|\bhelp\b\W*$", re.I)
_PLAN = re.compile(
    r"^\W*(?:please\s+)?(?:(?:can|could) you\s+)?(?:(?:make|create|write|draft|give me|show me|propose|prepare|we need|i need|do)\s+)?"
    r"(?:me\s+)?(?:an?\s+|the\s+)?(?:\w+\s+)?plan\b",
    re.I,
)
_OVERVIEW = re.compile(
    r"""\b(?:overview|tour|summar\w+|architecture|high[- ]level)\b
    | \bwhat\ (?:is|does)\ (?:this|the|it)\b[^?]{0,30}\b(?:project|repo|repository|code\ ?base|app|package|library)\b
    | \bexplain\ (?:this|the)\ (?:project|repo|repository|code\ ?base)\b
    | \bhow\ is\ (?:this|the|it)\ .{0,20}(?:structured|organi[sz]ed|laid\ out)\b
    | \bwhat\ is\ (?:this|it)(?:\ about)?\W*$ | \bget(?:ting)?\ started\b | \bwhere\ (?:do|should)\ i\ (?:start|begin)\b""",
    re.I | re.X,
)
_USES = re.compile(
    r"\b(?:who|what|which\s+\w+)\s+(?:calls?|uses?|imports?|references?|invokes?)\b"
    r"|\b(?:where|how often|by whom)\b.{0,60}\b(?:called|used|imported|referenced|invoked)\b"
    r"|\b(?:all\s+)?(?:usages?|callers?|uses|references?|call sites?)\s+(?:of|to)\b",
    re.I,
)
_BACK = re.compile(
    r"^\W*(and|but|also|then|so|what about|how about|more|why|go on|continue|tell me more|show( me)?( it)?)\b"
    r"|\b(it|they|them|that|those|this|there|these)\b",
    re.I,
)
_PATCH = re.compile(r"^diff --git a/", re.M)
_PART = re.compile(r"@@ [-+0-9, ]+ @@ ?(.*)")
_HEADER = re.compile(r"(?:commit [0-9a-f]{7,}|(?:Author|Date|Merge|AuthorDate|Commit|CommitDate): )")
_QUOTED = re.compile(r"\"([^\"\n]{2,80})\"|“([^”\n]{2,80})”|`([^`\n]{2,80})`")
_PATH = re.compile(
    r"(?<![\w./-])((?:[\w.-]+/)+[\w.-]*\w|[\w-]+(?:\.[\w-]+)*\.[A-Za-z]+[0-9]?)(?::(\d+)(?:-(\d+))?)?(?![\w/])"
)
_CODE_LIKE = re.compile(r"[a-z0-9][A-Z]|_|[A-Z]{2,}[a-z]|\w\.\w|\(\)$|::")
_NAME = re.compile(r"[^\W\d]\w*(?:(?:\.|::)[^\W\d]\w*)*(?:\(\))?")


@dataclass(frozen=True)
class Question:
    """`words`: what it is about, in order, without filler and without what every question has; `said`: with the latter.

    `names`: identifiers in it. `phrases`: what stood in quotes. `paths`: files it names, with lines. `topic`: words of the turn
    before that it points back to.
    """

    text: str
    kind: Kind
    words: tuple[str, ...] = ()
    said: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    phrases: tuple[str, ...] = ()
    paths: tuple[tuple[str, int | None, int | None], ...] = ()
    topic: tuple[str, ...] = ()

    @property
    def subject(self) -> tuple[str, ...]:
        """All words that count, the question's own first."""
        return (*self.words, *(w for w in self.topic if w not in self.words))

    @property
    def stems(self) -> frozenset[str]:
        return stems(self.subject)

    def queries(self) -> list[str]:
        """What to search for, together: the whole of it, then each name and phrase on its own; four at most."""
        asked = (*self.said, *(w for w in self.topic if w not in self.said))
        found = [" ".join(asked[:16])] if asked else []
        found += [f'"{p}"' for p in self.phrases if not _NAME.fullmatch(p)]
        found += [last_name(n) for n in self.names]
        if len(self.subject) > 1 and any(stem(w.lower()) in _OTHERS for w in self.subject):
            found.append(" ".join(o for w in self.subject[:12] for o in _OTHERS.get(stem(w.lower()), (w,))))
        elif len(found) == 1 and len(self.words) > 3:
            # A long question buries its rare words: its longest ones are asked for once more by themselves.
            found.append(" ".join(sorted(self.words, key=lambda w: (-len(w), w))[:2]))
        return list(dict.fromkeys(found))[:4]

    def broader(self) -> list[str]:
        """What to search for when nothing was found: the words one by one."""
        return list(dict.fromkeys(p for w in self.subject for p in (parts(w) or [w]) if len(p) > 2))[:4]


def understand(text: str, before: Sequence[str] = ()) -> Question:
    """
    Args:
        before: the questions asked earlier in the session, oldest first.
    """
    question = _alone(text)
    if before and not question.paths and (not question.words or (len(question.words) < 3 and _BACK.search(text))):
        topic = next((q for q in map(_alone, reversed(before)) if q.words), None)
        if topic and question.kind != "greeting":
            kind = "what" if question.kind == "vague" else question.kind
            return replace(question, kind=kind, topic=topic.subject, names=question.names or topic.names)
    return question


def stems(words: Sequence[str]) -> frozenset[str]:
    """The stemmed parts of words and identifiers, as the index has them."""
    return frozenset(stem(p) for word in words for p in parts(word) if len(p) > 1)


def alike(stem_: str) -> frozenset[str]:
    """The stem and those of words that may stand for it."""
    return _ALIKE.get(stem_, frozenset([stem_]))


def last_name(name: str) -> str:
    """`Hub.publish()` → `publish`."""
    return re.split(r"\.|::", name.removesuffix("()"))[-1]


def _without_patch(text: str) -> str:
    """A prompt with a patch in it (`git diff | reconvene ask "…"`): what was said, the files it changes and the definitions around its
    parts. Its lines are code that is not there, or not there yet, and would be taken for words of the question."""
    if not _PATCH.search(text):
        return text
    kept, body = [], False
    for line in text.splitlines():
        if line.startswith("diff --git "):
            body = True
        elif body and line.startswith(("+++ b/", "--- a/")):
            kept.append(line[6:].split("\t")[0])
        elif body and (part := _PART.match(line)):
            kept.append(part[1])
        elif not body and not _HEADER.match(line):
            kept.append(line)
    return "\n".join(dict.fromkeys(kept))


def _alone(text: str) -> Question:
    text = _without_patch(text).strip()
    quoted = [a or b or c for a, b, c in _QUOTED.findall(text)]
    named = [m for m in _PATH.finditer(text) if not _is_word(m[1])]
    paths = tuple((m[1], int(m[2]) if m[2] else None, int(m[3]) if m[3] else None) for m in named)
    rest = text
    for m in named:
        rest = rest.replace(m[0], " ")
    names = [n for n in [*quoted, *_NAME.findall(rest)] if _NAME.fullmatch(n) and (n in quoted or _is_name(n))]
    spoken = [w for w in WORD.findall(rest) if len(w) > 1 and (w.lower() not in _FILLER or _CODE_LIKE.search(w))]
    kind = _kind(text, spoken, bool(paths))
    skipped = {"uses": _OF_USES, "plan": _OF_PLANS}.get(kind, frozenset())
    said = tuple(dict.fromkeys(_IRREGULAR.get(w.lower(), w) for w in spoken if w.lower() not in skipped or w in quoted))
    words = tuple(w for w in said if w.lower() not in _COMMON or w in quoted)
    return Question(
        text,
        kind,
        words or (() if paths else said),
        said,
        tuple(dict.fromkeys(n.removesuffix("()") for n in names)),
        tuple(q.strip() for q in quoted if q.strip()),
        paths,
    )


def _kind(text: str, words: list[str], paths: bool) -> Kind:
    plain = [w.lower() for w in WORD.findall(text)]
    telling = [w for w in words if w.lower() not in _COMMON]
    if plain and len(plain) <= 5 and all(w in _SMALL_TALK for w in plain):
        return "greeting"
    if _ABILITIES.search(text) and len(telling) < 2:
        return "greeting"
    if _PLAN.search(text):
        return "plan"
    if _OVERVIEW.search(text) and len(telling) <= 3:
        return "overview"
    if not paths and all(w.lower() in _VAGUE for w in telling) and (telling or len(words) < 2):
        return "vague"
    if _USES.search(text):
        return "uses"
    if re.match(r"\W*(where|which|who|find|locate|in (which|what))\b", text, re.I):
        return "where"
    if re.match(r"\W*(how|why|when|explain|describe|walk)\b", text, re.I):
        return "how"
    return "what"


def _is_name(word: str) -> bool:
    return bool(_CODE_LIKE.search(word)) and all(len(p) > 1 for p in re.split(r"\.|::", word.removesuffix("()")))


def _is_word(path: str) -> bool:
    """`and/or`, `e.g`, `v1.2` and `Hub.publish` look like paths and are none."""
    if "/" in path:
        return "." not in path and path.count("/") == 1 and path.islower() and all(len(p) < 8 for p in path.split("/"))
    stem_, _, suffix = path.rpartition(".")
    return suffix.lower() not in _SUFFIXES or not stem_


_SUFFIXES = frozenset(
    """c cc cfg clj conf cpp cs css csv dart ex exs go gradle h hpp hs html ini java jl js json jsx kt lua m md ml mjs mm nix php pl
    proto ps1 py pyi r rb rs rst sass scala scss sh sql svelte swift tf toml ts tsx txt vue xml yaml yml zig""".split()  # noqa: SIM905
)
_ALIKE: dict[str, frozenset[str]] = {}
_OTHERS: dict[str, tuple[str, ...]] = {}
for _group in _GROUPS.strip().splitlines():
    _words = _group.split()
    for _word in _words:
        _ALIKE[stem(_word)] = _ALIKE.get(stem(_word), frozenset()) | frozenset(map(stem, _words))
        _OTHERS[stem(_word)] = tuple(w for w in _words if w != _word)[:3]
