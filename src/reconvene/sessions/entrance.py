"""Where a client comes in: which session it gets, and where it goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol, cast

from reconvene.config import Settings
from reconvene.errors import ReconveneError
from reconvene.log.port import Log, NewSession, SessionRow, SharedLog, Tombstone
from reconvene.log.uptime import Uptime
from reconvene.protocol import events as ev
from reconvene.protocol.cursor import Cursor
from reconvene.protocol.frames import PlainFrame
from reconvene.protocol.parsing import plain_key
from reconvene.sessions.attach import Attachment, PlainAttachment, decide, new_epoch, new_session_id
from reconvene.sessions.memory import Memory
from reconvene.sessions.plain import just_made, same_turn
from reconvene.sessions.rows import Who, event
from reconvene.sessions.state import SessionState
from reconvene.workspace.roots import Roots


class ContentsOfAll(Protocol):
    """Contents of files that any node may need; see `runs.shared_contents`."""

    async def publish(self, names: Collection[str]) -> None: ...

    async def fetch(self, session_id: str) -> None: ...

    async def sweep(self, keep: Collection[str]) -> None: ...


class Entrance:
    """Finds, creates and attaches. A session of another owner is as unknown as one that never was."""

    def __init__(self, log: Log, roots: Roots, settings: Settings, uptime: Uptime) -> None:
        self.log, self.roots, self.settings, self.uptime = log, roots, settings, uptime
        self.memory = Memory(log, uptime.now)
        self.elsewhere: Callable[[str], str | None] = lambda _root: None
        """The real path of a code base that another node serves, by its path or name."""
        self.all_elsewhere: Callable[[], Mapping[str, Sequence[str]]] = dict
        """Every code base that another node serves, by its real path, and the names of those nodes."""
        self.contents: ContentsOfAll | None = None
        """Where other nodes find the contents that runs keep; None: there are none."""

    async def state(self, session_id: str) -> SessionState:
        """The session's state as of the last commit; read from the log when it is not in memory."""
        return await self.memory.state(session_id)

    def seen(self, state: SessionState) -> int | None:
        """For an append that was decided by this state. Where nobody else writes there is nothing to have missed."""
        return state.seq if self.log.shared else None

    async def _up_to_date(self, session: SessionRow) -> SessionState:
        """The state as of the session's head, whoever wrote it."""
        state = await self.state(session.id)
        if self.log.shared:
            await cast(SharedLog, self.log).reach(session.id, session.head)
        return state

    async def attach(
        self,
        who: Who,
        *,
        session_id: str | None,
        cursor: str | None = None,
        root: str | None = None,
        prompt_id: str | None = None,
        recovery: str | None = None,
    ) -> Attachment:
        """Find or create the session of a resumable client, and decide how it goes on.

        A known `prompt_id` leads to the session it first went to, whatever `session_id` says.
        Raises: invalid_field (cursor), root_required, root_not_allowed, root_mismatch.
        """
        position = Cursor.parse(cursor) if cursor is not None else None
        if prompt_id is not None and (known := await self.log.command(who.owner, prompt_id)):
            session_id = known[0]
        session, reason = await self.find(who.owner, session_id)
        if session is None:
            session = await self._create(who, root, recovery)
            return Attachment(session, "fresh", reason, session.cursor)
        self.check_root(session, root)
        tag, missed = None, (0, 0)
        if position is not None and position.epoch == session.epoch and position.seq <= session.head:
            tag = await self.log.tag(session.id, position.seq)
            missed = await self.log.missed(session.id, position.seq)
        mode, why = decide(
            session, position, tag, missed, self.settings.limits.lag_events, self.settings.limits.lag_bytes
        )
        after = position if mode == "resume" and position is not None else Cursor(session.epoch, 0)
        return Attachment(session, mode, why, after)

    async def attach_plain(self, who: Who, frame: PlainFrame) -> PlainAttachment:
        """The rules for clients that send their prompt again whenever they connect (PROTOCOL §1)."""
        key, text = plain_key(frame), frame.content.strip()
        session, reason = await self.find(who.owner, frame.session_id)
        if session is None and text and frame.session_id is None:
            session = await just_made(self, who.owner, key)
        if session is None:
            session = await self._create(who, frame.root_directory, frame.recovery)
            return PlainAttachment(session, reason, 0, submit=bool(text), error=None if text else "empty_prompt")
        self.check_root(session, frame.root_directory)
        if not text:
            return PlainAttachment(session, reason, 0, session.run_id, whole=True)
        if (run := same_turn(await self._up_to_date(session), key, self.uptime.now())) is not None:
            return PlainAttachment(session, reason, run.first_seq - 1, run.id)
        return PlainAttachment(session, reason, session.head, submit=True)

    async def find(self, owner: str, session_id: str | None) -> tuple[SessionRow | None, str | None]:
        """The owner's session, or why there is none. Another owner's is as unknown as one that never was."""
        if session_id is None:
            return None, None
        found = await self.log.session(session_id)
        if found is None or found.owner != owner:
            return None, "unknown"
        if isinstance(found, Tombstone):
            return None, "expired"
        return found, None

    async def _create(self, who: Who, root: str | None, recovery: str | None) -> SessionRow:
        workspace = self.roots.find(root) if root is not None else None
        path = str(workspace.root) if workspace is not None else self.elsewhere(root) if root is not None else None
        if root is not None and path is None:
            raise ReconveneError(
                "root_not_allowed",
                "config.root_directory names no code base that is served here. Leave it out, or name one of GET /api/roots.",
            )
        if path is None:
            # What this node has comes first: with one code base here there is no question, whatever the others have.
            here, there = {str(w.root): w.name for w in self.roots.all()}, self.only_elsewhere()
            if len(here or there) != 1:
                names = [*here.values(), *there.values()]
                listed = ", ".join(names) or "none is served"
                raise ReconveneError(
                    "root_required", f"Name the code base in config.root_directory: {listed}.", roots=names
                )
            path = next(iter(here or there))
        new = NewSession(new_session_id(), who.owner, path, new_epoch())
        first = [event(ev.Action(name="recovery", args={"policy": recovery}, by=who.name))] if recovery else []
        await self.log.create(new, first, update={"last_active": self.uptime.now(), "active_at": time.time()})
        found = await self.log.session(new.id)
        assert isinstance(found, SessionRow)
        return found

    def only_elsewhere(self) -> dict[str, str]:
        """The code bases that other nodes have and this one has not: folder's name by real path."""
        return {
            root: root.rpartition("/")[2] or root for root in self.all_elsewhere() if self.roots.by_root(root) is None
        }

    def check_root(self, session: SessionRow, root: str | None) -> None:
        """Whether what a client says of the code base means the session's. None: it says nothing.

        One that is not served here is known by its folder's name, too: so the session stays readable, and what is sent is answered with
        what is the matter.

        Raises: root_mismatch.
        """
        if root is None or root == session.root:
            return
        workspace = self.roots.find(root)
        served, asked = session.root, root if workspace is None else str(workspace.root)
        if asked != (served.rpartition("/")[2] if workspace is None else served):
            raise ReconveneError(
                "root_mismatch", "This session belongs to another code base. Start a new session for this one."
            )

    async def get(self, owner: str, session_id: str) -> SessionRow:
        """Raises: no_such_session, with the reason `expired` when it was there once."""
        session, reason = await self.find(owner, session_id)
        if session is None:
            raise ReconveneError(
                "no_such_session", "There is no session with this id; it may have expired.", reason=reason
            )
        return session
