"""The released packages of the others: installed once into build/peers, by the ordinary clients, and nowhere else."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from bench.peers.peer import INSTALLED

NPM = {"opencode-linux-x64": "1.18.33", "@openai/codex": "0.169.0"}
PYPI = {
    "chainlit": {"chainlit": "2.12.0", "openai": ""},
    "langgraph": {"langgraph-cli[inmem]": "0.4.40", "langgraph-api": "0.16.7", "langchain-openai": "1.7.3"},
}
VERSIONS = {**NPM, "chainlit": PYPI["chainlit"]["chainlit"], "langgraph-api": PYPI["langgraph"]["langgraph-api"]}


def install(packages: set[str], told: Callable[[str], None]) -> None:
    """Those of these packages that are missing.

    Raises:
        subprocess.CalledProcessError: npm or uv could not.
    """
    INSTALLED.mkdir(parents=True, exist_ok=True)
    wanted = [f"{name}@{version}" for name, version in NPM.items() if name in packages and not _has(name)]
    if wanted:
        told(f"installing {', '.join(wanted)}")
        (INSTALLED / "package.json").write_text('{"private": true}\n')
        program = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", *wanted]
        subprocess.run(program, cwd=INSTALLED, env=_environment(), check=True)
    uv = [str(Path(sys.executable).with_name("uv"))]
    for name, parts in PYPI.items():
        if VERSIONS.get(name, VERSIONS.get(f"{name}-api")) and ({name, f"{name}-api"} & packages):
            place = INSTALLED / name
            if not place.exists():
                told(f"installing {name}")
                subprocess.run([*uv, "venv", "-q", "--python", sys.executable, str(place)], check=True)
                pinned = [f"{part}=={version}" if version else part for part, version in parts.items()]
                subprocess.run(
                    [*uv, "pip", "install", "-q", "--python", str(place / "bin/python"), *pinned], check=True
                )


def commit() -> str:
    """Of this tree."""
    program = ["git", "rev-parse", "--short", "HEAD"]
    done = subprocess.run(program, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "?"


def _has(name: str) -> bool:
    return (INSTALLED / "node_modules" / name).exists()


def _environment() -> dict[str, str]:
    """With the Node of this tree first."""
    return os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"}
