"""`server.json` in the data folder: where the running server is."""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path

from reconvene.log.folder import unusable

NAME = "server.json"


def write_server_file(data_dir: Path, port: int) -> None:
    """`server.json`: where the running server is. Written whole or not at all.

    Raises:
        ReconveneError: `disk_full`, `data_dir_unusable`.
    """
    said = {"pid": os.getpid(), "host": "localhost", "port": port, "started": round(time.time(), 3)}
    fresh = data_dir / f".{NAME}.{os.getpid()}"
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(said, file)
        fresh.replace(data_dir / NAME)
    except OSError as e:
        fresh.unlink(missing_ok=True)
        raise unusable(data_dir, e) from e


def remove_server_file(data_dir: Path) -> None:
    """Only ours: whoever came after us has written its own."""
    path = data_dir / NAME
    with contextlib.suppress(OSError, ValueError):
        if json.loads(path.read_text("utf-8")).get("pid") == os.getpid():
            path.unlink()
