"""What is told of an index to people: on the page, in the terminal, over HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Phase = Literal["building", "verifying", "ready", "paused", "resting", "failed"]
Watch = Literal["events", "sweeps", "off"]


@dataclass(frozen=True, slots=True)
class IndexState:
    """One root's index now.

    `phase`: `building` (not every file was read yet), `verifying` (all of it is stored; whether files changed since is being looked at),
    `ready`, `paused`, `resting` (its memory was given back), `failed`. `done`, `of`: files, while any are read.
    `partial`: an answer may lack files. `verified`: everything was looked at since the start. `truncated`: the code base has more files
    than are looked at. `skipped`: files that cannot be read. `watching`: whether changes are told of (`events`) or only found by sweeps.
    `notes`: sentences, for what is not as it usually is.
    """

    root: str
    name: str
    phase: Phase
    files: int
    symbols: int
    done: int
    of: int
    partial: bool
    verified: bool
    truncated: bool
    skipped: int
    watching: Watch
    folders: int
    notes: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        match self.phase:
            case "building" if self.of:
                return f"Reading the code: {self.done:,} of {self.of:,} files."
            case "building":
                return "Looking for the files of the code base."
            case "verifying":
                return f"Looking for changes in {self.files:,} files."
            case "paused" if self.partial:
                return f"The index is paused; {self.files:,} files are known so far."
            case "paused":
                return "The index is paused; changes are not looked for."
            case "failed":
                return "The index cannot be kept up to date."
        return f"{self.files:,} files, {self.symbols:,} symbols."
