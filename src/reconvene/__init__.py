"""Reconvene: an agent server for code whose sessions cannot be lost."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("reconvene")
except PackageNotFoundError:  # running from a tree that was never installed
    __version__ = "0.0.0"
