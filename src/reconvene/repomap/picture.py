"""The files of a code base by how much they matter, for a picture of it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from reconvene.index.languages.registry import language_of
from reconvene.index.roles import role_of
from reconvene.index.root import RootIndex
from reconvene.repomap.importance import file_importance
from reconvene.repomap.places import best_first
from reconvene.workspace.names import display_path

MOST = 1000


@dataclass(frozen=True, slots=True)
class PictureFile:
    """`path` in its display form; `score`: 1 for the file that matters most, 0 for one that nothing else uses. `words`: its length."""

    path: str
    score: float
    words: int
    language: str
    role: str
    seen: bool


@dataclass(frozen=True, slots=True)
class Picture:
    """`files`: best first. `others`: how many there are besides."""

    files: tuple[PictureFile, ...]
    others: int
    epoch: int


def picture(index: RootIndex, *, most: int = 300, seen: Collection[str] = ()) -> Picture:
    """The files that matter most and those that were seen, from the index as it is. Blocking.

    Args:
        most: files besides the seen ones, up to 1,000.
        seen: paths the session knows, in their display form.
    """
    view = index.view
    scores = file_importance(view)
    top = float(scores.max(initial=0.0)) or 1.0
    numbers = best_first(view, scores, most)[:most]
    shown = dict.fromkeys(numbers)
    for path in seen:
        if at := view.find(path):
            shown.setdefault(view.offsets[at[0]] + at[1])
    known = frozenset(seen)
    files = []
    for number in shown:
        path = view.path(number)
        name = display_path(path)
        files.append(
            PictureFile(
                name, round(float(scores[number]) / top, 4), int(view.columns.length[number]),
                language_of(path).name, role_of(path), name in known or path in known,
            )
        )  # fmt: skip
    return Picture(tuple(files), view.files - len(files), view.epoch)
