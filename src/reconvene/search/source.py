"""A file's text, as lines and as bytes, with what is worked out of it once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from reconvene.index.languages.strings import lines_in_strings
from reconvene.index.runs import Runs


class Source:
    """Of one file, whole. For any thread: what two work out at once is the same.

    Args:
        lines: nobody changes them.
    """

    def __init__(self, lines: Sequence[str]) -> None:
        self.lines = lines

    @cached_property
    def data(self) -> bytes:
        """In UTF-8."""
        return "\n".join(self.lines).encode("utf-8", "surrogatepass")

    @cached_property
    def runs(self) -> Runs:
        return Runs(self.data)

    @cached_property
    def ends(self) -> NDArray[np.int64]:
        """Where each line ends in `data`."""
        return self.runs.ends

    @cached_property
    def in_strings(self) -> frozenset[int]:
        """See `lines_in_strings`."""
        return lines_in_strings(self.data)
