"""`commands`: whether agents may ask to run programs in a code base. The person says so here, and nothing in the code base can."""

from __future__ import annotations

import contextlib
from pathlib import Path

from reconvene.cli import terminal
from reconvene.cli.places import root_of
from reconvene.client.local import find
from reconvene.errors import ReconveneError
from reconvene.workspace.names import display_path
from reconvene.workspace.permissions import Permission, Permissions

_HOW = {
    "bubblewrap": "confined by bubblewrap",
    "landlock": "confined by Landlock",
    "none": "NOT confined: this machine has neither bubblewrap nor Landlock",
}


def commands(data_dir: Path, root: Path | None, wanted: str | None, *, network: bool, as_json: bool) -> None:
    """Show it, or set it with `on` and `off`. Holds from the next prompt on, also in a server that runs.

    Raises:
        ReconveneError: `invalid_field`, `root_not_found`, `data_dir_unusable`.
    """
    if wanted not in (None, "on", "off"):
        raise ReconveneError(
            "invalid_field", f"`commands` takes on or off, not {terminal.safe(str(wanted))}.", field="commands"
        )
    if network and wanted != "on":
        raise ReconveneError("invalid_field", "--network goes with `commands on`.", field="network")
    served: list[str] = []
    if root is None and (server := find(data_dir)) is not None:
        with contextlib.suppress(ReconveneError):
            served = [r["root"] for r in server.call("GET", "/api/roots")["roots"]]
    path = root_of(root, served)
    if not path.is_dir():
        raise ReconveneError("root_not_found", f"There is no folder {display_path(str(path))}.")
    permissions = Permissions(data_dir)
    if wanted is not None:
        data_dir.mkdir(0o700, parents=True, exist_ok=True)
        permissions.allow(str(path), Permission(commands=wanted == "on", network=network))
    now = permissions.of(str(path))
    if as_json:
        from reconvene.commands.confinement import kinds

        terminal.emit({"root": str(path), "commands": now.commands, "network": now.network, "sandbox": kinds()[0]})
        return
    shown = display_path(str(path))
    if not now.commands:
        print(f"Agents may not run commands in {shown}. Allow it with: reconvene commands on")
        return
    from reconvene.commands.confinement import kinds

    net = "with the network" if now.network else "without network"
    print(f"Agents may ask to run commands in {shown}: {net}, {_HOW[kinds()[0]]}. You are asked before each.")
