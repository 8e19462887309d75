"""MCP servers that the person configured for our agents: which there are.

They are named in the data folder alone, never in a code base: what they start runs with the person's rights. Standard library only, as
commands that list them start often.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

from reconvene.errors import ReconveneError

FILE = "mcp-servers.json"
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
Approval = Literal["ask", "once", "never"]


@dataclass(frozen=True, slots=True)
class ForeignServer:
    """One configured server. `approval`: a person is asked before each call, once in a session, or never."""

    command: str
    args: list[str] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)
    approval: Approval = "ask"

    @classmethod
    def of(cls, said: Any) -> ForeignServer:
        """As the file has it.

        Raises:
            ValueError: it is not what it should be, or says more.
        """
        if not isinstance(said, dict) or not said.keys() <= {f.name for f in fields(cls)}:
            raise ValueError("not an object of the fields that there are")
        made = cls(**said) if "command" in said else cls("")
        texts = [made.command, *_list(made.args), *_list(list(_object(made.env).values()))]
        if not made.command or not all(isinstance(text, str) for text in texts):
            raise ValueError("not texts")
        if made.approval not in get_args(Approval):
            raise ValueError("no approval that there is")
        return made


def configured(data_dir: Path) -> dict[str, ForeignServer]:
    """Raises: `invalid_field` when the file cannot be read as what it should be."""
    try:
        said = _object(json.loads((data_dir / FILE).read_text("utf-8")))
        return {name: ForeignServer.of(value) for name, value in said.items() if NAME.fullmatch(name)}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as e:
        # Not what it says: a value of its `env` may be a secret.
        raise ReconveneError(
            "invalid_field", f"{data_dir / FILE} cannot be used ({type(e).__name__}). Mend or remove it."
        ) from None


def configure(data_dir: Path, servers: dict[str, ForeignServer]) -> None:
    """Write them, readable by their owner alone."""
    data_dir.mkdir(0o700, parents=True, exist_ok=True)
    made = json.dumps({name: asdict(server) for name, server in servers.items()}, indent=2)
    part = data_dir / f"{FILE}.part"
    with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(made)
        file.flush()
        os.fsync(file.fileno())
    part.replace(data_dir / FILE)


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError("not a list")  # noqa: TRY004 - as for every other thing that is wrong with the file
    return value


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("not an object")  # noqa: TRY004
    return value
