"""What the person allows agents to do in a workspace beyond reading it and proposing changes.

Kept in the data folder, by root: nothing in a workspace's own files can ever grant it.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from reconvene.errors import ReconveneError

FILE = "permissions.json"


@dataclass(frozen=True, slots=True)
class Permission:
    """commands: agents may ask to run programs. network: those programs may reach the network."""

    commands: bool = False
    network: bool = False


class Permissions:
    """The permissions of one data folder. Every look reads the file: a change holds from the next run on, without a restart."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / FILE

    def of(self, root: str) -> Permission:
        """What is allowed in the workspace with this real path; nothing when nobody said so.

        Raises:
            ReconveneError: `data_dir_unusable` when the file cannot be understood: then nothing is allowed.
        """
        found = self._all().get(root)
        return found if found is not None else Permission()

    def allow(self, root: str, permission: Permission) -> None:
        """Set it, for good."""
        every = {**self._all(), root: permission}
        text = json.dumps({path: asdict(p) for path, p in sorted(every.items()) if p != Permission()}, indent=1)
        new = self._path.with_suffix(f".{os.getpid()}")
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(fd, "w", encoding="utf-8") as f:
            f.write(text + "\n")
            f.flush()
            os.fsync(f.fileno())
        new.replace(self._path)

    def _all(self) -> dict[str, Permission]:
        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
            return {
                str(root): Permission(commands=p.get("commands") is True, network=p.get("network") is True)
                for root, p in found.items()
            }
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, AttributeError) as e:
            raise ReconveneError(
                "data_dir_unusable",
                f"{self._path} cannot be understood ({e}). Mend it, or delete it: then nothing is allowed.",
            ) from e
