"""The repository's commits to what the index keeps of them: only those that are new are asked for."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from reconvene.index.history import MOST, NO_HISTORY, History, Note, build, mark_of
from reconvene.index.store import Store
from reconvene.workspace import Workspace
from reconvene.workspace.git_files import GitError, GitHangsError
from reconvene.workspace.git_history import GitHistory

RESTS = 300.0
"""Seconds for which a git that hung is not asked again."""
_BATCH = 200


class HistoryReader:
    """For one workspace and one caller at a time.

    Args:
        stop: set to end what is under way.
    """

    def __init__(self, workspace: Workspace, stop: threading.Event) -> None:
        self._workspace = workspace
        self._stop = stop
        self._head: str | None = None
        self._rests_until = 0.0

    def read(self, store: Store, known: History) -> History | None:
        """What the commits say now; None when that is what is known, or cannot be told. Blocking: seconds when all of it is new.

        Raises:
            StoppedError: it was told to stop.
            apsw.Error: the store fails.
        """
        if time.monotonic() < self._rests_until:
            return None
        git = self._workspace.git_history(self._stop)
        try:
            return self._read(git, store, known) if git else self._nothing(known)
        except GitHangsError:
            self._rests_until, self._head = time.monotonic() + RESTS, None
            return None
        except GitError:
            # Commits that git cannot tell of are not asked for again while they are the same.
            return self._nothing(known)
        except BaseException:
            self._head = None
            raise

    def _read(self, git: GitHistory, store: Store, known: History) -> History | None:
        head = git.head()
        if head == self._head:
            return None
        self._head = head
        ids = git.ids(head, MOST)
        mark = mark_of(ids)
        if mark == known.mark:
            return None
        kept = store.told()
        told = {commit: Note.unpack(packed) for commit in ids if (packed := kept.get(commit)) is not None}
        self._ask(git, [commit for commit in ids if commit not in told], told, store)
        found = build(mark, [told[commit] for commit in ids if commit in told])
        store.keep_history(mark, found.pack(), kept.keys() - set(ids))
        return found

    def _ask(self, git: GitHistory, ids: Sequence[bytes], told: dict[bytes, Note], store: Store) -> None:
        new: dict[bytes, bytes] = {}
        for commit in git.commits(ids):
            told[commit.id] = note = Note.of(commit)
            # Of the first commit of a shallow clone more can be known another time.
            if not commit.first:
                new[commit.id] = note.pack()
            if len(new) >= _BATCH:
                store.keep_told(new)
                new = {}
        store.keep_told(new)

    def _nothing(self, known: History) -> History | None:
        return NO_HISTORY if known.mark else None
