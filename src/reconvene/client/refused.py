"""What a server refuses, as an error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reconvene.errors import KINDS, ReconveneError


def refusal(content: Mapping[str, Any]) -> ReconveneError:
    """The error that a `nack`, `error` or problem document speaks of; the code of a newer server becomes `internal`."""
    code = content.get("code")
    message = content.get("message") or content.get("detail") or content.get("title") or "The server refused."
    return ReconveneError(code if code in KINDS else "internal", str(message), **(content.get("details") or {}))
