"""Which files and definitions matter when nothing in particular is asked for: those whose names the rest of the code base uses.

A file's worth is made of the names it defines that many files mention and few define. It does without the graph of definitions and uses:
on a query PageRank adds nothing that could be measured, and for an overview this orders the same files first.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from reconvene.index.definitions import Definition, last_name
from reconvene.index.languages.language import HOLDERS
from reconvene.index.roles import ROLES, WEIGHTS
from reconvene.index.usage import Usage
from reconvene.index.view import View
from reconvene.index.words import parts, stem, term, whole

_USED = 4
"""Files that must mention a name before it counts for much."""
_A_LITTLE = 0.05
_COMMON = 6
"""A name that more files define than this is nobody's."""
_KIND = {
    "class": 1.0,
    "interface": 1.0,
    "struct": 1.0,
    "enum": 0.7,
    "type": 0.7,
    "function": 0.6,
    "macro": 0.4,
    "method": 0.4,
    "constant": 0.25,
    "module": 0.2,
}


def file_importance(view: View) -> NDArray[np.float64]:
    """Per file, counted through all segments."""
    squares: list[NDArray[np.float64]] = [np.zeros(0)]
    for segment in view.segments:
        names = segment.names
        used, definers = view.usage.of(names.keys), np.maximum(view.definers.of(names.keys), 1)
        worth = (np.log(np.maximum(used / _USED, 1.0)) + _A_LITTLE * np.log1p(used)) / definers
        worth[definers > _COMMON] = 0
        each = np.repeat(worth**2, np.diff(names.bounds))
        squares.append(np.bincount(names.where, each, len(segment.paths)).astype(np.float64))
    score = np.sqrt(np.concatenate(squares))
    weights = np.array([WEIGHTS[role] for role in ROLES])
    score *= weights[view.columns.roles] * view.columns.alive
    return score


def definition_importance(definition: Definition, usage: Usage) -> float:
    """For the order of the definitions of one file."""
    if definition.kind in ("heading", "impl"):
        return 0.0
    used = usage.of_name(definition.name)
    split = len(parts(definition.name))
    # A plain word is mentioned in prose as well; one that starts in lower case says next to nothing.
    doubt = 1.0 if split > 1 else 0.5 if definition.name[:1].isupper() else 0.1
    depth = 1.0 if definition.parent < 0 else 0.6
    private = 0.3 if definition.name.startswith("_") else 1.0
    return _KIND.get(definition.kind, 0.2) * doubt * depth * private * (1 + float(np.log1p(used))) + 0.01 * (
        definition.kind in HOLDERS
    )


def matching(definition: Definition, weights: Mapping[int, float]) -> float:
    """How much of a question is in a definition's name."""
    split = parts(last_name(definition.name))
    terms = {term(stem(p)) for p in split}
    if len(split) > 1 and (joined := whole("".join(split))):
        terms.add(term(joined))
    return sum(weights.get(t, 0.0) for t in sorted(terms))
