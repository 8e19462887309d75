"""MCP servers that the person configured for our agents: which there are.

They are named in the data folder alone, never in a code base: what they start runs with the person's rights, and what is at an address is
shown the person's token. Standard library only, as commands that list them start often.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

from reconvene.errors import ReconveneError

FILE = "mcp-servers.json"
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
Approval = Literal["ask", "once", "never"]
_HERE = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class ForeignServer:
    """One configured server: a `command` that starts it, or a `url` where it is. `approval`: a person is asked before each call, once in
    a session, or never. `headers`: sent with each request to the address."""

    command: str = ""
    args: list[str] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)
    approval: Approval = "ask"
    url: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, said: Any) -> ForeignServer:
        """As the file has it.

        Raises:
            ValueError: it is not what it should be, or says more.
        """
        if not isinstance(said, dict) or not said.keys() <= {f.name for f in fields(cls)}:
            raise ValueError("not an object of the fields that there are")
        made = cls(**said)
        texts = [
            made.command,
            made.url,
            *_list(made.args),
            *_object(made.env).values(),
            *_object(made.headers).values(),
        ]
        if not all(isinstance(text, str) for text in texts):
            raise ValueError("not texts")
        if bool(made.command) == bool(made.url) or (made.url and wrong_with(made.url, made.headers)):
            raise ValueError("neither a command nor an address")
        if made.approval not in get_args(Approval):
            raise ValueError("no approval that there is")
        return made


def wrong_with(url: str, headers: Mapping[str, str]) -> str | None:
    """Why nothing can be asked at this address with these headers, as a sentence; None: something can.

    >>> wrong_with("https://mcp.example.com/mcp", {"Authorization": "Bearer x"})
    >>> wrong_with("http://mcp.example.com/mcp", {"Authorization": "Bearer x"})
    'What is sent there in headers would cross the network unencrypted. Use https.'
    """
    try:
        place = urlsplit(url)
        place.port  # noqa: B018 - it is parsed here
    except ValueError:
        return "This is no address."
    if place.scheme not in ("http", "https") or not place.hostname or place.username or not url.isprintable():
        return "The address is https://host/path, without a user and a password."
    for name, value in headers.items():
        if not HEADER.fullmatch(name) or not value.isprintable() or not value.isascii():
            return "A header is NAME=VALUE, in printable ASCII."
    if headers and place.scheme == "http" and place.hostname not in _HERE:
        return "What is sent there in headers would cross the network unencrypted. Use https."
    return None


def configured(data_dir: Path) -> dict[str, ForeignServer]:
    """Raises: `invalid_field` when the file cannot be read as what it should be."""
    try:
        said = _object(json.loads((data_dir / FILE).read_text("utf-8")))
        return {name: ForeignServer.of(value) for name, value in said.items() if NAME.fullmatch(name)}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as e:
        # Not what it says: a value of its `env` or `headers` may be a secret.
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
