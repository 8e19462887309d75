"""The real browser and server of tests/e2e and tests/server, for those who attack them."""

from __future__ import annotations

import sys
from pathlib import Path

for room in ("e2e", "server"):
    sys.path.append(str(Path(__file__).parents[1] / room))
