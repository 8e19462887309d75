"""Which model answers, and the keys for it, as the person sets them while the server runs.

Kept in `providers.json` of the data folder, readable by its owner alone. A key goes in and never comes out again: what is told of
it is that there is one. Order: what stands here, then the environment (`OPENAI_API_KEY`, …), as pydantic-ai reads it.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from reconvene.config import Settings
from reconvene.errors import ReconveneError

FILE = "providers.json"
_PROVIDER = re.compile(r"[a-z][a-z0-9-]{0,40}")
_SAME = {"openai-chat": "openai", "openai-responses": "openai"}
"""Names of pydantic-ai for other ways to speak to the same provider."""
_LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
CONSTRAINED = "constrained:"
"""Before a model's name: it is asked for constrained steps (`agents.constrained`)."""


def provider_of(model: str) -> str:
    """
    >>> provider_of("constrained:openai:qwen3"), provider_of("offline")
    ('openai', 'offline')
    """
    return model.strip().removeprefix(CONSTRAINED).partition(":")[0]


@dataclass(frozen=True, slots=True)
class Access:
    """What a provider needs. `base_url`: another address than the provider's own."""

    key: str | None = None
    base_url: str | None = None

    def __repr__(self) -> str:  # a key must not end up in a traceback
        return f"Access(key={'set' if self.key else None}, base_url={self.base_url!r})"


class Providers:
    """The file, and the model that holds where a prompt or a session names none. Every look reads the file: no restart is needed.

    Args:
        default: of the settings (`--model`, `RECONVENE_MODEL`), for as long as nothing was chosen here.
        fallback, daily_cap: the same of those.
    """

    def __init__(
        self, data_dir: Path, default: str, *, fallback: str | None = None, daily_cap: float | None = None
    ) -> None:
        self.data_dir = data_dir
        self._path = data_dir / FILE
        self._default, self._fallback, self._daily_cap = default, fallback, daily_cap
        self._known: tuple[tuple[int, int, int], dict[str, Any]] | None = None

    @classmethod
    def of(cls, settings: Settings) -> Providers:
        return cls(settings.data_dir, settings.model, fallback=settings.fallback, daily_cap=settings.daily_cap)

    @property
    def model(self) -> str:
        return str(self._read().get("model") or self._default)

    @property
    def fallback(self) -> str | None:
        """The model that takes over when another one is overloaded, down or out of quota."""
        chosen = self._read().get("fallback")
        return chosen["model"] if chosen else self._fallback

    @property
    def daily_cap(self) -> float | None:
        """US dollars that may be spent on one day; None: any."""
        chosen = self._read().get("daily_cap")
        return chosen["usd"] if chosen else self._daily_cap

    def access(self, provider: str) -> Access | None:
        """What is set for a provider (`openai`, `anthropic`, …); None when nothing is."""
        found = self._read().get("access", {}).get(_SAME.get(provider, provider))
        return Access(**found) if found else None

    def known(self) -> dict[str, Access]:
        return {name: Access(**a) for name, a in self._read().get("access", {}).items()}

    def choose(self, model: str | None) -> None:
        """The model from now on; None: back to the settings'."""
        self._write({**self._read(), "model": model})

    def choose_fallback(self, model: str | None) -> None:
        self._write({**self._read(), "fallback": {"model": model}})

    def cap(self, usd: float | None) -> None:
        """
        Raises:
            ReconveneError: `invalid_field`.
        """
        if usd is not None and not 0 < usd < 1e6:
            raise ReconveneError(
                "invalid_field", "A daily cap is an amount of US dollars, such as 5.", path="daily_cap"
            )
        self._write({**self._read(), "daily_cap": {"usd": usd}})

    def allow(self, provider: str, access: Access | None, *, local_only: bool = False) -> None:
        """Set or (None) forget what a provider needs.

        Args:
            local_only: an address must be of this machine. So a page that somebody took over cannot have code sent elsewhere.

        Raises:
            ReconveneError: `invalid_field`.
        """
        provider = _SAME.get(provider, provider)
        if not _PROVIDER.fullmatch(provider):
            raise ReconveneError("invalid_field", "A provider is named like openai or anthropic.", path="provider")
        stored = self._read()
        every = dict(stored.get("access", {}))
        every.pop(provider, None)
        if access is not None:
            _check(access, local_only)
            every[provider] = asdict(access)
        self._write({**stored, "access": every})

    def _read(self) -> dict[str, Any]:
        """What is in the file, which a command beside the server may change at any time. It costs one look at the file when nobody did."""
        try:
            stat = self._path.stat()
            file = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
            known = self._known
            if known is None or known[0] != file:
                known = self._known = (file, self._checked(json.loads(self._path.read_text(encoding="utf-8"))))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as e:
            raise self._unusable(e) from e
        return dict(known[1])

    def _checked(self, found: Any) -> dict[str, Any]:
        access = found.get("access", {}) if isinstance(found, dict) else None
        shapes = (("fallback", "model", str), ("daily_cap", "usd", int | float))
        if isinstance(found, dict) and not all(
            key not in found or (isinstance(found[key], dict) and isinstance(found[key].get(of), kind | None))
            for key, of, kind in shapes
        ):
            raise self._unusable("it has another shape")
        if not isinstance(access, dict) or not all(
            isinstance(a, dict) and set(a) <= {"key", "base_url"} for a in access.values()
        ):
            raise self._unusable("it has another shape")
        return dict(found)

    def _unusable(self, why: object) -> ReconveneError:
        return ReconveneError(
            "data_dir_unusable",
            f"{self._path} cannot be understood ({why}). Mend it, or delete it and set the keys again.",
        )

    def _write(self, content: dict[str, Any]) -> None:
        new = self._path.with_suffix(f".{os.getpid()}")
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(fd, "w", encoding="utf-8") as f:
            json.dump({k: v for k, v in content.items() if v}, f, indent=1)
            f.flush()
            os.fsync(f.fileno())
        new.replace(self._path)


def _check(access: Access, local_only: bool) -> None:
    if access.key is not None and not re.fullmatch(r"[!-~]{1,500}", access.key):
        raise ReconveneError("invalid_field", "A key is one word of printable characters. Copy it again.", path="key")
    if access.base_url is None:
        return
    try:
        parts = urlsplit(access.base_url)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and not parts.username and not parts.query
    except ValueError:
        sound = False
    if not sound:
        raise ReconveneError("invalid_field", "An address looks like http://localhost:11434/v1.", path="base_url")
    if local_only and parts.hostname not in _LOCAL:
        sentence = "From the page only addresses of this machine can be set. For another one: reconvene model NAME --base-url URL."
        raise ReconveneError("forbidden", sentence)
