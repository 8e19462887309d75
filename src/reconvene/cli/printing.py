"""A transcript's pieces on the terminal: answers on stdout, styled where somebody sees them; steps on stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TextIO

from reconvene.cli import terminal
from reconvene.cli.markdown import Markdown, coloured
from reconvene.cli.transcript import Piece


class Printer:
    """Prints pieces in the order in which they come. `steps`: where those go that are no answer; stderr if not said."""

    def __init__(self, steps: TextIO | None = None) -> None:
        self._markdown = Markdown() if terminal.colours(sys.stdout) else None
        self._steps = steps

    def show(self, pieces: Iterable[Piece]) -> None:
        for piece in pieces:
            if piece.kind == "answer":
                terminal.out(self._markdown.feed(piece.text) if self._markdown else piece.text)
                continue
            if self._markdown:
                terminal.out(self._markdown.end())
            if piece.kind == "diff":
                terminal.out(coloured(piece.text) if self._markdown else piece.text)
            else:
                text = terminal.dim(piece.text) if piece.text.startswith("·") and self._steps is None else piece.text
                print(text, file=self._steps or sys.stderr, flush=True)

    def change(self, diff: str) -> None:
        """A part of a change that is asked about: on stderr, where the question is."""
        terminal.say((coloured(diff) if terminal.colours(sys.stderr) else diff).rstrip("\n"))

    def end(self) -> None:
        """Nothing more comes: what was held back is printed, and no style stays on."""
        if self._markdown:
            terminal.out(self._markdown.end())
