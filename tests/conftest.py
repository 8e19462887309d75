"""Shared by every test. This file also puts `tests/` on the import path, for `house` and `scripted`."""

from __future__ import annotations

import os

# The machine's own settings must not leak into a test, and no test may reach a provider.
for name in [n for n in os.environ if n.startswith("RECONVENE_")]:
    del os.environ[name]
os.environ["RECONVENE_OFFLINE_DELAY_MS"] = "0"
