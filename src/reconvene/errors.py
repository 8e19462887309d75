"""Every error a person or a client can meet, once: its code, what it means for HTTP and for a WebSocket, and whether trying again helps.

An error is raised with `ReconveneError(code, sentence, **details)`. The sentence says what happened, to which thing, and what
to do. The code is the contract with programs: it never changes its meaning. `docs/reference/errors.md` lists all of them and a
test compares the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Kind:
    """What a code means outside: `status` for HTTP, `close` for a WebSocket (None: it stays open), `retryable` as it is."""

    status: int
    retryable: bool = False
    close: int | None = None
    meaning: str = ""


KINDS: dict[str, Kind] = {
    # frames and fields
    "invalid_json": Kind(400, meaning="Not one JSON value (RFC 8259) without duplicate keys, NaN or lone surrogates."),
    "invalid_message": Kind(400, meaning="The JSON is not an object with a type."),
    "invalid_field": Kind(
        400, meaning="A field is missing, unknown, or of the wrong type or shape; the message names it."
    ),
    "unknown_type": Kind(400, meaning="No frame has this type; the message lists those there are."),
    "unsupported_frame": Kind(400, meaning="Binary frames are not part of the protocol."),
    "upgrade_required": Kind(
        426, close=4400, meaning="Another protocol version, or a request that is no WebSocket handshake."
    ),
    "empty_prompt": Kind(400, meaning="A prompt needs at least one character that is not white space."),
    "too_large": Kind(413, meaning="Something is over a limit; the message names the limit."),
    "rate_limited": Kind(
        429, retryable=True, meaning="Too many messages; details.retry_after says when to go on, in seconds."
    ),
    "id_conflict": Kind(409, meaning="This id was used before with another body; make a new id."),
    # who is asking
    "unauthorized": Kind(
        401, close=4401, meaning="No valid credential. Run `reconvene open` for a fresh sign-in link."
    ),
    "forbidden_origin": Kind(403, meaning="The page that asks is not of this server and not in allowed_origins."),
    "forbidden_host": Kind(421, meaning="The Host header does not name this server; see --public-url."),
    "forbidden": Kind(403, close=4403, meaning="This credential may not do that; the data folder's token may."),
    "read_only": Kind(403, meaning="A link to a session shows it and changes nothing."),
    "no_such_user": Kind(404, meaning="Nobody of this name was added; `reconvene users list` shows who was."),
    "link_used": Kind(403, meaning="A sign-in link works once and for five minutes. Run `reconvene open` for another."),
    "limit_reached": Kind(
        503, retryable=True, close=4429, meaning="Too many connections; the message names the limit."
    ),
    # sessions
    "no_such_session": Kind(404, meaning="There is no session with this id; it may have expired."),
    "session_mismatch": Kind(409, meaning="A connection belongs to the session of its first frame."),
    "session_archived": Kind(
        409, meaning="The session is archived; prompts wake it, other changes need it unarchived."
    ),
    "root_required": Kind(400, meaning="Several code bases are served; name one of them in config.root_directory."),
    "root_mismatch": Kind(409, meaning="A session keeps the code base it was created for."),
    "root_not_served": Kind(
        409, retryable=True, meaning="The session's code base is not being served now; it can be read but not asked."
    ),
    "root_not_allowed": Kind(403, meaning="This folder is not, and cannot be, served."),
    "root_not_found": Kind(404, meaning="There is no such folder."),
    "not_a_directory": Kind(400, meaning="A code base is a folder; this is not one."),
    "no_such_question": Kind(404, meaning="No question with this id is in the session."),
    "question_closed": Kind(409, meaning="The question expired or its run ended."),
    "already_answered": Kind(409, meaning="Somebody answered first; details.by says who."),
    "no_such_diff": Kind(404, meaning="No diff with this id is in the session."),
    "already_decided": Kind(409, meaning="Somebody decided first; details.by says who."),
    "stale_diff": Kind(409, meaning="A file changed under the diff; a new one is needed."),
    "conflict": Kind(409, meaning="A file is not what it was; it was not overwritten. The details name it."),
    "unknown_action": Kind(400, meaning="No action has this name; the message lists those there are."),
    "no_such_run": Kind(404, meaning="No run with this id is in the session."),
    # files
    "path_outside_root": Kind(403, meaning="The path leads outside of the code base."),
    "invalid_path": Kind(400, meaning="The path holds a NUL or is not a path."),
    "name_too_long": Kind(400, meaning="A name is over 255 bytes or a path over 4,096."),
    "file_not_found": Kind(404, meaning="There is no such file."),
    "not_a_regular_file": Kind(400, meaning="Only regular files are read: no device, socket or pipe."),
    "is_a_directory": Kind(400, meaning="This is a folder; list it or name a file in it."),
    "binary_file": Kind(415, meaning="The file is not text; details have its size."),
    "permission_denied": Kind(403, meaning="The operating system refuses access."),
    "secret_file": Kind(403, meaning="The file looks like a secret; it is read only with a person's approval."),
    "workspace_gone": Kind(410, retryable=True, meaning="The folder of the code base was deleted or moved."),
    "map_truncated": Kind(
        200, meaning="The code base has more files than the limit; the map covers the first of them."
    ),
    # search
    "pattern_too_big": Kind(400, meaning="The pattern is longer or costlier than the limit."),
    "search_failed": Kind(500, retryable=True, meaning="The search could not be done; the run goes on without it."),
    # the model
    "model_unknown": Kind(400, meaning="No provider has a model of this name, or its package or key is missing."),
    "provider_auth": Kind(502, retryable=True, meaning="The model's provider refused the key."),
    "provider_rate_limited": Kind(502, retryable=True, meaning="The provider asks to wait."),
    "provider_unavailable": Kind(502, retryable=True, meaning="The provider does not answer or answers with errors."),
    "model_misbehaved": Kind(
        502, retryable=True, meaning="The model's answers could not be used several times in a row."
    ),
    "budget_exceeded": Kind(409, retryable=True, meaning="The run reached one of its limits; the message names it."),
    "context_full": Kind(409, meaning="The conversation is longer than the model can take."),
    "recovery_exhausted": Kind(
        500, retryable=True, meaning="The run was started again several times without getting any further."
    ),
    "interrupted": Kind(409, retryable=True, meaning="A restart ended the run, as the session's recovery policy asks."),
    "question_expired": Kind(409, meaning="Nobody answered in time."),
    "tool_failed": Kind(500, retryable=True, meaning="A tool could not do its work; the model was told."),
    # the machine and the store
    "disk_full": Kind(
        507, retryable=True, meaning="There is no space left; reading and replay go on, and it heals by itself."
    ),
    "store_busy": Kind(503, retryable=True, meaning="Another program holds the database."),
    "store_error": Kind(503, retryable=True, close=1013, meaning="The database answered with an error."),
    "store_lost": Kind(
        503, close=1013, meaning="The database file was deleted, replaced or cut. Put it back or restore a backup."
    ),
    "store_corrupt": Kind(500, meaning="The database is damaged. Run `reconvene doctor --repair`."),
    "store_foreign": Kind(500, meaning="The file is not a Reconvene database."),
    "store_newer": Kind(500, meaning="The database was written by a newer Reconvene."),
    "unsafe_permissions": Kind(500, meaning="Others can read or write the data folder."),
    "data_dir_unusable": Kind(500, meaning="The data folder cannot be used as it is."),
    "not_running": Kind(409, meaning="No server uses this data folder; `reconvene serve` starts one."),
    "already_running": Kind(409, meaning="Another server uses this data folder."),
    "port_in_use": Kind(409, meaning="Something else listens on the port."),
    "fenced": Kind(
        409, retryable=True, close=4009, meaning="Another owner has taken over; a write of the old one was refused."
    ),
    "starting": Kind(503, retryable=True, close=1013, meaning="The server is starting; it answers in a moment."),
    "draining": Kind(503, retryable=True, close=1012, meaning="The server is stopping; runs go on after its restart."),
    "not_found": Kind(404, meaning="There is nothing at this address."),
    "method_not_allowed": Kind(405, meaning="This address does not take this method."),
    "internal": Kind(
        500, retryable=True, close=1011, meaning="Something unforeseen; the server's log has it under the same id."
    ),
}


class ReconveneError(Exception):
    """A typed refusal. `message` is a sentence that says what to do; `details` is JSON.

    >>> raise ReconveneError("too_large", "The prompt has 300,000 bytes; the limit is 200,000. Shorten it.", limit=200_000)
    Traceback (most recent call last):
    reconvene.errors.ReconveneError: too_large: The prompt has 300,000 bytes; the limit is 200,000. Shorten it.
    """

    def __init__(self, code: str, message: str, **details: Any) -> None:
        if code not in KINDS:
            raise KeyError(f"unknown error code {code!r}: add it to reconvene.errors.KINDS")
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.details = details

    @property
    def kind(self) -> Kind:
        return KINDS[self.code]

    @property
    def retryable(self) -> bool:
        return self.kind.retryable

    def content(self) -> dict[str, Any]:
        """What goes on the wire as the content of `nack` and `error`."""
        return {"code": self.code, "message": self.message, "retryable": self.retryable, "details": self.details}
