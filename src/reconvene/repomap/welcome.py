"""What a person is shown of a code base before anything was asked: how much there is, and what could be asked first."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from reconvene.index.definitions import Definition, qualified
from reconvene.index.languages.language import HOLDERS, OUTLINE
from reconvene.index.languages.registry import language_of
from reconvene.index.roles import WEIGHTS, role_of
from reconvene.index.root import RootIndex
from reconvene.index.view import View
from reconvene.repomap.importance import definition_importance, file_importance
from reconvene.repomap.places import best_first
from reconvene.workspace.names import display_path

LANGUAGES, FOLDERS = 8, 12
_LOOKED_AT = 40
"""Files, best first, whose definitions may be asked for."""
_ANYWAY = (
    "Give me a tour: what are the main parts, and how do they fit together?",
    "Where does the program start, and what happens first?",
    "How are errors handled, and where do they end up?",
)


@dataclass(frozen=True, slots=True)
class Share:
    """A language, or a folder of the top in its display form, and how many files are in it."""

    name: str
    files: int


@dataclass(frozen=True, slots=True)
class Welcome:
    """`questions`: three, of what this code base has most to do with; of none in particular while little of it is known."""

    files: int
    symbols: int
    languages: tuple[Share, ...]
    folders: tuple[Share, ...]
    questions: tuple[str, ...]
    epoch: int


def welcome(index: RootIndex) -> Welcome:
    """From the index as it is. Blocking."""
    view = index.view
    paths = list(view.paths())
    languages = Counter(language_of(path).name for path in paths)
    languages.pop("other", None)
    folders = Counter(path.partition("/")[0] for path in paths if "/" in path)
    return Welcome(
        files=view.files,
        symbols=view.symbols,
        languages=tuple(Share(name, n) for name, n in languages.most_common(LANGUAGES)),
        folders=tuple(Share(f"{display_path(name)}/", n) for name, n in folders.most_common(FOLDERS)),
        questions=_questions(index, view, paths),
        epoch=view.epoch,
    )


def _questions(index: RootIndex, view: View, paths: Sequence[str]) -> tuple[str, ...]:
    """A folder, what is used most, and what does most."""
    asked: list[str] = []
    if folder := _heart(paths):
        asked.append(f"Give me a tour of `{display_path(folder)}/`: what are its parts, and how do they fit together?")
    named: list[tuple[Definition, str, str]] = list(_central(index, view))
    holder = next((n for n in named if n[0].kind in HOLDERS), None)
    if holder:
        asked.append(f"What is `{holder[1]}` for, and what depends on it?")
    file = holder[2] if holder else None
    doing = next((n for n in named if n[0].kind in ("function", "method") and n[2] != file), None)
    if doing:
        asked.append(f"What happens, step by step, when `{doing[1]}` is called?")
    return tuple([*asked, *_ANYWAY][:3] if asked else _ANYWAY)


def _heart(paths: Sequence[str]) -> str | None:
    """The smallest folder that holds most of the sources, without what only leads to it."""
    worth: defaultdict[str, float] = defaultdict(float)
    total = 0.0
    for path in paths:
        weight = WEIGHTS[role_of(path)] if language_of(path).name != "other" else 0.0
        total += weight
        folder = path.rpartition("/")[0]
        while folder:
            worth[folder] += weight
            folder = folder.rpartition("/")[0]
    most = [folder for folder, w in worth.items() if w > total / 2 and total]
    if most:
        return max(most, key=lambda f: (f.count("/"), f))
    return min(worth, key=lambda f: (-worth[f], f.count("/"), f), default=None)


def _central(index: RootIndex, view: View) -> Iterator[tuple[Definition, str, str]]:
    """Definitions with their full names and paths: of each file that matters the best one that holds others, then the best function."""
    for number in best_first(view, file_importance(view), _LOOKED_AT)[:_LOOKED_AT]:
        path = view.path(number)
        definitions = index.definitions(path)
        order = sorted(
            (i for i, d in enumerate(definitions) if d.kind not in OUTLINE and d.kind not in ("impl", "constant")),
            key=lambda i: (-definition_importance(definitions[i], view.usage), i),
        )
        doing = [i for i in order if definitions[i].kind in ("function", "method")]
        holding = [i for i in order if definitions[i].kind in HOLDERS]
        for i in (*holding[:1], *doing[:1]):
            name = qualified(definitions, i)
            if not name.startswith("_") and "`" not in name and len(name) <= 80:
                yield definitions[i], name, path
