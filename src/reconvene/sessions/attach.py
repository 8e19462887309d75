"""Where a connection begins: the pure decision of PROTOCOL "Decision on attach"."""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass
from typing import Literal

from reconvene.log.port import SessionRow
from reconvene.protocol.cursor import Cursor

Mode = Literal["fresh", "resume", "snapshot", "plain"]


def new_session_id() -> str:
    return "s_" + base64.urlsafe_b64encode(secrets.token_bytes(16)).decode().rstrip("=")


def new_epoch() -> str:
    return secrets.token_hex(6)


@dataclass(frozen=True, slots=True)
class Attachment:
    """`after`: the cursor at which delivery starts (of a snapshot: decided when it is taken)."""

    session: SessionRow
    mode: Mode
    reason: str | None
    after: Cursor


@dataclass(frozen=True, slots=True)
class PlainAttachment:
    """What a plain client's first frame leads to.

    `replay_from`: project what comes after this seq. `submit`: the prompt is new and must be run. `whole`: everything is replayed.
    `error`: code to be sent after the session frame (`empty_prompt`).
    """

    session: SessionRow
    reason: str | None
    replay_from: int
    run_id: str | None = None
    submit: bool = False
    whole: bool = False
    error: str | None = None


def decide(
    session: SessionRow,
    cursor: Cursor | None,
    tag: str | None,
    missed: tuple[int, int],
    lag_events: int,
    lag_bytes: int,
) -> tuple[Mode, str | None]:
    """Resume from the cursor, or a snapshot and why.

    `tag`: of the row the cursor names (None: no such row). `missed`: rows and bytes after it.
    """
    if cursor is None:
        return "snapshot", None
    if cursor.epoch != session.epoch:
        return "snapshot", "epoch"
    if cursor.seq > session.head:
        return "snapshot", "rollback"
    if tag != cursor.tag:
        return "snapshot", "diverged"
    if missed[0] > lag_events or missed[1] > lag_bytes:
        return "snapshot", "lag"
    return "resume", None
