"""A long campaign in parts: `SHARE=3/16` in the environment is the third sixteenth of it. What the parts report is added to one row."""

from __future__ import annotations

import os


def share(worker: int, workers: int) -> list[int]:
    """Which of how many parts a worker has: `[0, 2]` is each second one, from the first."""
    part, parts = (int(n) for n in os.environ.get("SHARE", "1/1").split("/"))
    assert 0 < part <= parts, "SHARE is such as 3/16"
    return [(part - 1) * workers + worker, parts * workers]
