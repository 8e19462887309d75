"""The code bases that this server serves."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from reconvene.config import Limits
from reconvene.workspace.workspace import Workspace


class Roots:
    """The served workspaces, by name and by path. Thread-safe.

    Only the operator adds one. What a client names is compared with what is served and never looked up on the disk, so
    that an answer tells nothing about other folders.
    """

    def __init__(self, *, data_dir: Path | None, limits: Limits | None = None) -> None:
        self._data_dir = data_dir
        self._limits = limits or Limits()
        self._lock = threading.Lock()
        self._by_root: dict[str, Workspace] = {}
        self._by_word: dict[str, Workspace] = {}
        """Names, real paths, and paths as the operator wrote them."""

    def add(self, path: str | Path) -> Workspace:
        """Serve a directory, at the operator's word: `~` and a path relative to the server's folder are understood.

        One that is served already comes back as it is, or is taken up again when it had been deleted or replaced.

        Raises:
            ReconveneError: as `Workspace.open`.
        """
        text = os.fspath(path)
        written = os.path.abspath(os.path.expanduser(text)) if text.strip() and "\0" not in text else text
        workspace = Workspace.open(written, data_dir=self._data_dir, limits=self._limits)
        root = str(workspace.root)
        with self._lock:
            if served := self._by_root.get(root):
                served.reopen()
                self._by_word.setdefault(written, served)
                return served
            workspace.name = self._free_name(workspace.name)
            self._by_root[root] = workspace
            for word in (root, workspace.name, written):
                self._by_word.setdefault(word, workspace)
            return workspace

    def find(self, name_or_path: str) -> Workspace | None:
        """The workspace with this name or path, as a client wrote it; None for every other text alike."""
        if found := self._by_word.get(name_or_path):
            return found
        return self._by_word.get(os.path.normpath(name_or_path)) if name_or_path.startswith("/") else None

    def by_root(self, root: str) -> Workspace | None:
        """The workspace whose real path this is."""
        return self._by_root.get(root)

    def all(self) -> list[Workspace]:
        """In the order they were added."""
        return list(self._by_root.values())

    def _free_name(self, name: str) -> str:
        candidate, n = name, 2
        while candidate in self._by_word:
            candidate, n = f"{name}-{n}", n + 1
        return candidate
