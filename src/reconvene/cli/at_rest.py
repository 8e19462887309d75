"""A server for a session that is at rest: while none runs, the data folder says which code base it is about."""

from __future__ import annotations

from pathlib import Path

from reconvene.cli import background
from reconvene.cli.places import root_of
from reconvene.cli.terminal import dim, safe, say
from reconvene.client.local import Server
from reconvene.errors import ReconveneError


def wake(data_dir: Path, name: str) -> Server:
    """Start a server in the background that serves the code base of the session which is meant (as for `sessions.resolve`).

    Raises:
        ReconveneError: `no_such_session`: there is none of that name, and nothing was started; what `background.start` raises.
    """
    from reconvene.config import Settings

    settings = Settings.load({"data_dir": data_dir})
    # What a PostgreSQL has is asked of the server; its first code base is then that of this folder, as for a first question.
    root = root_of(None, ()) if settings.database else _root_of_session(data_dir, name)
    say(dim("· starting a server in the background"))
    return background.start(data_dir, root, port=settings.port, port_is_chosen="port" in settings.origins)


def _root_of_session(data_dir: Path, name: str) -> Path:
    from reconvene.log import database

    path = data_dir / "reconvene.db"
    if not path.is_file():
        raise ReconveneError("no_such_session", 'There is no session yet. Start one: reconvene ask "…"')
    database.recognise(path)
    connection = database.connect(path, readonly=True)
    try:
        rows = connection.execute("select id, root from session where owner = 'owner' order by active_at desc")
        known = [(str(id), str(root)) for id, root in rows]
    finally:
        connection.close()
    found = [root for id, root in known if name in ("last", id) or (len(name) >= 3 and id.startswith(name))]
    if not found:
        raise ReconveneError("no_such_session", f"There is no session {safe(name)} in {safe(str(data_dir))}.")
    return Path(found[0])
