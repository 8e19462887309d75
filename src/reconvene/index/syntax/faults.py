"""Whether a grammar finds a text whole. A worker process runs it, as everything that parses."""

from __future__ import annotations

from reconvene.index.analysis import Analysis
from reconvene.index.languages.language import Language
from reconvene.index.syntax.outline import EXACT
from reconvene.index.syntax.parsing import errors_of


def faults(data: bytes, language: Language) -> Analysis:
    """`symbols`: how many syntax errors there are; `lines`: the line of the first, 0 for none."""
    lines = errors_of(data, language)
    return Analysis(EXACT, min(lines, default=0), len(lines))
