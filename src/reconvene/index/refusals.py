"""Why an index does not answer, as a person is told."""

from __future__ import annotations

from reconvene.errors import ReconveneError
from reconvene.workspace import Workspace


def unusable(workspace: Workspace, e: Exception) -> ReconveneError:
    sentence = (
        f"The index of {workspace.name} cannot be kept ({e}). "
        "Check the space left and the permissions of the folder `indexes` in the data folder."
    )
    return ReconveneError("search_failed", sentence)


def kept_elsewhere(workspace: Workspace) -> ReconveneError:
    sentence = f"Another process keeps the index of {workspace.name}. Ask again when it has ended."
    return ReconveneError("search_failed", sentence)


def closed() -> ReconveneError:
    return ReconveneError("draining", "The server is stopping; ask again when it is back.")
