"""A server for a session that is at rest: while none runs, the data folder says which code base it is about."""

from __future__ import annotations

from pathlib import Path

from reconvene.cli.looking import resolve
from reconvene.cli.places import root_of
from reconvene.cli.terminal import dim, say
from reconvene.client.local import Server, find


def awake(data_dir: Path, name: str) -> Server:
    """The server that runs, or one that is started; see `wake`."""
    return find(data_dir) or wake(data_dir, name)


def wake(data_dir: Path, name: str) -> Server:
    """Start a server in the background that serves the code base of the session which is meant (as for `looking.resolve`).

    Raises:
        ReconveneError: `no_such_session`: there is none of that name, and nothing was started; what `Stored.of` and
            `background.start` raise.
    """
    from reconvene.cli import background
    from reconvene.cli.stored import Stored
    from reconvene.config import Settings

    settings = Settings.load({"data_dir": data_dir})
    # What a PostgreSQL has is asked of the server; its first code base is then that of this folder, as for a first question.
    stored = None if settings.database else Stored.of(data_dir)
    root = root_of(None, ()) if stored is None else Path(resolve(stored, name)["root"])
    say(dim("· starting a server in the background"))
    return background.start(data_dir, root, port=settings.port, port_is_chosen="port" in settings.origins)
