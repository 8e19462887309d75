"""Which data folder is meant. It imports nothing that a command without a server would not need."""

from __future__ import annotations

import os
from pathlib import Path


def usual_data_dir() -> Path:
    """The data folder where none is named: `RECONVENE_DATA_DIR`, else the platform's own."""
    if chosen := os.environ.get("RECONVENE_DATA_DIR"):
        return Path(chosen).expanduser().absolute()
    import platformdirs

    return Path(platformdirs.user_data_dir("reconvene", appauthor=False))
