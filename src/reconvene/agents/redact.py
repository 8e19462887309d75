"""Secrets that stand in text: their values never reach a model, the log or an error's sentence.

Only what is a secret by its form is hidden (the formats that their issuers document), so that code reads as it is.
"""

from __future__ import annotations

import os
import re

_NAMES = ("KEY", "TOKEN", "SECRET", "PASSWORD", "CREDENTIAL")
_FORMS = re.compile(
    r"""\b(?:
        (?:AKIA|ASIA)[0-9A-Z]{16}                             # AWS
      | gh[opsru]_[A-Za-z0-9]{36,} | github_pat_\w{50,}       # GitHub
      | glpat-[\w-]{20,}                                      # GitLab
      | xox[abeoprs]-[A-Za-z0-9-]{10,}                        # Slack
      | sk-[\w-]{20,} | (?:sk|rk)_live_[A-Za-z0-9]{20,}       # OpenAI and Anthropic; Stripe
      | AIza[\w-]{35}                                         # Google
      | eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}              # a signed JSON Web Token
    )""",
    re.X,
)
_PEM = re.compile(r"(-----BEGIN [A-Z ]*PRIVATE KEY-----)(.*?)(-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.S)
HIDDEN = "[redacted]"


def redact(text: str) -> str:
    """`text` with what has the form of a secret replaced; it keeps its number of lines.

    >>> redact("key = 'AKIAIOSFODNN7EXAMPLE'")
    "key = '[redacted]'"
    """
    if "PRIVATE KEY-----" in text:
        text = _PEM.sub(lambda m: m[1] + re.sub(r"[^\n]+", HIDDEN, m[2]) + m[3], text)
    return _FORMS.sub(HIDDEN, text)


def redact_own(text: str) -> str:
    """`redact`, and without the values of this process's own secrets and what follows `Bearer`."""
    for name, value in os.environ.items():
        if len(value) >= 6 and any(part in name.upper() for part in _NAMES):
            text = text.replace(value, HIDDEN)
    text = re.sub(r"(?i)\b(bearer|api[-_ ]key[^:\n]{0,20}:)\s+\S+", rf"\1 {HIDDEN}", text)
    return redact(re.sub(r"\b(?:sk|pk|rk|gsk|hf|xai)[-_][\w*-]{6,}", HIDDEN, text))
