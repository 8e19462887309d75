"""The server's own log: JSON lines in the data folder, and what a person must see on stderr. No secrets in either."""

from __future__ import annotations

import logging
import logging.handlers
import os
import re
import sys
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import structlog

_SECRET_NAMES = frozenset({"authorization", "cookie", "set-cookie", "token", "t", "password", "secret", "api_key"})
_SECRET_TEXT = re.compile(r"(?i)(?<=[?&]t=)[\w-]{16,}|(?<=bearer )[\w.~+/-]{16,}=*")
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
FILE_BYTES = 5_000_000
FILES = 3


def without_secrets(_logger: Any, _method: str, entry: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor: what is named like a secret, or looks like a credential of ours, is not written."""
    for name, value in entry.items():
        if name.lower() in _SECRET_NAMES:
            entry[name] = "(hidden)"
        elif isinstance(value, str):
            entry[name] = _SECRET_TEXT.sub("(hidden)", value)
    return entry


class _PrivateFile(logging.handlers.RotatingFileHandler):
    def _open(self) -> Any:
        descriptor = os.open(self.baseFilename, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        return os.fdopen(descriptor, "a", encoding="utf-8")


def configure(folder: Path, level: str) -> None:
    """Send everything that is logged in this process to `folder/server.log`, and warnings to stderr."""
    folder.mkdir(mode=0o700, exist_ok=True)
    before: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *before, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )

    def formatter(*renderers: Any) -> logging.Formatter:
        strip = structlog.stdlib.ProcessorFormatter.remove_processors_meta
        return structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=before, processors=[strip, *renderers[:-1], without_secrets, renderers[-1]]
        )

    file = _PrivateFile(folder / "server.log", maxBytes=FILE_BYTES, backupCount=FILES, encoding="utf-8")
    file.setFormatter(formatter(structlog.processors.format_exc_info, structlog.processors.JSONRenderer()))
    shown = logging.StreamHandler(sys.stderr)
    shown.setLevel(logging.WARNING)
    colours = sys.stderr.isatty()
    shown.setFormatter(formatter(structlog.processors.format_exc_info, structlog.dev.ConsoleRenderer(colors=colours)))
    root = logging.getLogger()
    for handler in root.handlers[:]:
        root.removeHandler(handler)
        handler.close()
    root.addHandler(file)
    root.addHandler(shown)
    root.setLevel(_LEVELS[level])
    # Below this they say each request's address, query included.
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "websockets", "httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # uvicorn warns of every malformed request; that is counted, not news.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
