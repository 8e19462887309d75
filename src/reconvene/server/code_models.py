"""What the HTTP API gives of a code base."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from reconvene.server.api_models import Index


class Share(BaseModel):
    """A language or a folder, and how many files are in it."""

    name: str
    files: int


class Welcome(BaseModel):
    """A code base before anything was asked. `questions`: three that make sense for it. `index`: how far its reading is."""

    root: str
    name: str
    files: int
    symbols: int
    languages: list[Share]
    folders: list[Share]
    questions: list[str]
    epoch: int
    index: Index | None


class MapRow(BaseModel):
    """A definition, or a file without any (`kind` "file"). `score`: 1 for the best file. `why`: in a few words each.

    `used`: files that mention the name. `seen`: the session has seen the file.
    """

    path: str
    line: int
    name: str
    kind: str
    score: float
    why: list[str]
    used: int
    seen: bool


class CodeMap(BaseModel):
    """`tokens`: what the map takes of a model's context. `files`, `symbols`: of the whole code base. `partial`: it is still being read.

    `text`: as a model is told it, if that was asked for. `next`: cursor of the page after this one; null on the last. `moved`: what the
    pages before showed has changed since, so this is the first page again.
    """

    rows: list[MapRow]
    files: int
    symbols: int
    tokens: int
    epoch: int
    partial: bool
    text: str | None = None
    next: str | None = None
    moved: bool = False


class Place(BaseModel):
    """Lines `start` to `end` of a file. `score`: higher is better, comparable within one answer. `why`: in a few words each."""

    path: str
    start: int
    end: int
    score: float
    symbol: str | None
    text: str
    why: list[str]


class CodeSearch(BaseModel):
    """Best first. `total`: files that match. `truncated`: not everything could be looked through. `partial`: the code is still being read.

    `further`: files that come next, by name alone. `next`, `moved`: as of the map.
    """

    places: list[Place]
    total: int
    truncated: bool
    partial: bool
    further: list[str]
    next: str | None
    moved: bool


class PictureFile(BaseModel):
    """`score`: 1 for the file that matters most. `words`: how long it is. `seen`: by the session."""

    path: str
    score: float
    words: int
    language: str
    role: str
    seen: bool


class Picture(BaseModel):
    """`others`: files that are not among these."""

    files: list[PictureFile]
    others: int
    epoch: int


class Definition(BaseModel):
    """Lines `start` to `end` of a file, with their text."""

    path: str
    start: int
    end: int
    symbol: str | None
    text: str


class Use(BaseModel):
    """A line that mentions a name; `symbol`: the definition it stands in."""

    path: str
    line: int
    text: str
    symbol: str | None


class Symbol(BaseModel):
    """`files`: that use it. `truncated`: not everything could be looked through."""

    name: str
    definitions: list[Definition]
    uses: list[Use]
    files: int
    truncated: bool


class Completion(BaseModel):
    """`path` of a folder ends in "/". `name`, `line`, `symbol_kind`: of a symbol."""

    kind: Literal["file", "folder", "symbol"]
    path: str
    name: str
    line: int
    symbol_kind: str


class Completions(BaseModel):
    """Best first. `partial`: some names are not known yet; the same question has them a moment later."""

    items: list[Completion]
    partial: bool
    epoch: int
