"""A client's frame carried out on its session: the same for WebSocket and HTTP."""

from __future__ import annotations

from reconvene.errors import ReconveneError
from reconvene.protocol.frames import ActionFrame, Answer, Cancel, ClientFrame, Config, Decision, Default
from reconvene.protocol.parsing import body_hash
from reconvene.sessions.rows import Receipt, Who
from reconvene.sessions.service import Sessions


async def carry_out(sessions: Sessions, who: Who, session_id: str, frame: ClientFrame) -> Receipt:
    """Do what a command frame asks; when this returns, it is on disk.

    Raises:
        ReconveneError: `session_mismatch`, `root_mismatch`, and whatever the session refuses.
    """
    body = body_hash(frame)
    match frame:
        case Default():
            config = frame.config or Config()
            await _check_place(sessions, who, session_id, config)
            return await sessions.submit(
                who, session_id, id=frame.id, text=frame.content, delivery=frame.delivery, turn=config.turn(), body=body
            )
        case Answer():
            return await sessions.answer(
                who, session_id, id=frame.id, reply_to=frame.reply_to, value=frame.content, body=body
            )
        case Decision():
            content = frame.content
            return await sessions.decide(
                who,
                session_id,
                id=frame.id,
                reply_to=frame.reply_to,
                verdict=content.verdict,
                hunks=content.hunks,
                feedback=content.feedback,
                body=body,
            )
        case Cancel():
            return await sessions.cancel(who, session_id, id=frame.id, run_id=frame.content.run_id, body=body)
        case ActionFrame():
            content_ = frame.content
            return await sessions.act(who, session_id, id=frame.id, name=content_.name, args=content_.args, body=body)
    raise ReconveneError("invalid_field", f"A {frame.type} frame is no command.", path="type")


async def _check_place(sessions: Sessions, who: Who, session_id: str, config: Config) -> None:
    if config.session_id not in (None, session_id):
        raise ReconveneError(
            "session_mismatch", "This connection belongs to another session. Open a new connection for that one."
        )
    if config.root_directory is not None:
        sessions.check_root(await sessions.get(who.owner, session_id), config.root_directory)
