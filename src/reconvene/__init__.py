"""Reconvene: an agent server for code whose sessions cannot be lost."""

from __future__ import annotations

from typing import Any

__version__: str


def __getattr__(name: str) -> Any:
    """The version is read from the installed package when somebody asks: that costs more than the start of a small command."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("reconvene")
    except PackageNotFoundError:  # running from a tree that was never installed
        return "0.0.0"
