"""Where this command works: the data folder, and the code base it was called in. Nothing heavy is imported for it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from reconvene.client.folder import usual_data_dir
from reconvene.errors import ReconveneError

_current: Path | None = None


def data_dir(flag: Path | None) -> Path:
    """The data folder, by the rule of `Settings.load`: the flag, `RECONVENE_DATA_DIR`, the platform's own.

    `Settings` itself would say the same, a tenth of a second of imports later.
    """
    global _current
    _current = flag.expanduser().absolute() if flag else usual_data_dir()
    return _current


def made(data_dir: Path) -> Path:
    """The data folder, made for its owner alone when it is not there: a server refuses one that others can reach.

    Raises:
        ReconveneError: `data_dir_unusable`.
    """
    try:
        data_dir.parent.mkdir(parents=True, exist_ok=True)
        data_dir.mkdir(mode=0o700, exist_ok=True)
    except OSError as e:
        raise ReconveneError(
            "data_dir_unusable",
            f"The data folder {data_dir} cannot be made: {e.strerror}. Choose another with --data-dir.",
        ) from e
    return data_dir


def log_file() -> Path:
    """Where an unforeseen error of this command is written."""
    return (_current or data_dir(None)) / "logs" / "cli.log"


def root_of(path: Path | None, served: Iterable[str]) -> Path:
    """The code base that a command means: `path`, or the served one that the current folder is in, or the current folder."""
    if path is not None:
        return Path(os.path.realpath(path.expanduser()))
    here = Path(os.path.realpath(Path.cwd()))
    around = [root for root in map(Path, served) if here.is_relative_to(root)]
    return max(around, key=lambda root: len(root.parts), default=here)
