"""Secrets that stand in text: their values never reach a model, the log or an error's sentence.

Only what is a secret by its form is hidden (the formats that their issuers document), so that code reads as it is.
"""

from __future__ import annotations

import os
import re

import re2

_NAMES = ("KEY", "TOKEN", "SECRET", "PASSWORD", "CREDENTIAL")
_OPTIONS = re2.Options()
_OPTIONS.encoding = re2.Options.Encoding.LATIN1
_FORMS = re2.compile(
    rb"\b(?:"
    + b"|".join(
        (
            rb"(?:AKIA|ASIA)[0-9A-Z]{16}",  # AWS
            rb"gh[opsru]_[A-Za-z0-9]{36,}|github_pat_\w{50,}",  # GitHub
            rb"glpat-[\w-]{20,}",  # GitLab
            rb"xox[abeoprs]-[A-Za-z0-9-]{10,}",  # Slack
            rb"sk-[\w-]{20,}|(?:sk|rk)_live_[A-Za-z0-9]{20,}",  # OpenAI and Anthropic; Stripe
            rb"AIza[\w-]{35}",  # Google
            rb"eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}",  # a signed JSON Web Token
        )
    )
    + rb")",
    _OPTIONS,
)
"""RE2 takes time in proportion to the text. `re` takes its square for a file that begins a token again and again (`-eyJ-eyJ-eyJ…`):
minutes for a file that may be read, in which the server does nothing else."""
_PEM = re.compile(r"(-----BEGIN [A-Z ]*PRIVATE KEY-----)(.*?)(-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.S)
HIDDEN = "[redacted]"
_told: set[str] = set()


def know(secret: str) -> None:
    """A secret of this process that does not stand in its environment: `redact_own` hides it from now on."""
    if len(secret) >= 6:
        _told.add(secret)


def redact(text: str) -> str:
    """`text` with what has the form of a secret replaced; it keeps its number of lines.

    >>> redact("key = 'AKIAIOSFODNN7EXAMPLE'")
    "key = '[redacted]'"
    """
    if "PRIVATE KEY-----" in text:
        text = _PEM.sub(lambda m: m[1] + re.sub(r"[^\n]+", HIDDEN, m[2]) + m[3], text)
    data = text.encode("utf-8", "surrogatepass")
    if not _FORMS.search(data):
        return text
    return str(_FORMS.sub(HIDDEN.encode(), data).decode("utf-8", "surrogatepass"))


def redact_own(text: str) -> str:
    """`redact`, and without the values of this process's own secrets and what follows `Bearer`."""
    named = {v for k, v in os.environ.items() if len(v) >= 6 and any(part in k.upper() for part in _NAMES)}
    for value in sorted(named | _told, key=len, reverse=True):  # one may be the beginning of another
        text = text.replace(value, HIDDEN)
    text = re.sub(r"(?i)\b(bearer|api[-_ ]key[^:\n]{0,20}:)\s+\S+", rf"\1 {HIDDEN}", text)
    return redact(re.sub(r"\b(?:sk|pk|rk|gsk|hf|xai)[-_][\w*-]{6,}", HIDDEN, text))
