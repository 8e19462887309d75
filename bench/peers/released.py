"""The released packages of the others: installed once into build/peers, by the ordinary clients, and nowhere else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.peers.peer import INSTALLED

NPM = {"opencode-linux-x64": "1.18.33", "@openai/codex": "0.169.0"}
PYPI = {
    "chainlit": {"chainlit": "2.12.0", "openai": ""},
    "langgraph": {"langgraph-cli[inmem]": "0.4.40", "langgraph-api": "0.16.7", "langchain-openai": "1.7.3"},
    "openhands": {"openhands-agent-server": "1.58.0", "openhands-tools": "1.58.0"},
}
NEEDS = {"openhands": (3, 12)}
"""The Python that a package needs, where it is newer than ours."""
VERSIONS = {
    **NPM,
    "chainlit": PYPI["chainlit"]["chainlit"],
    "langgraph-api": PYPI["langgraph"]["langgraph-api"],
    "openhands-agent-server": PYPI["openhands"]["openhands-agent-server"],
}


class Unavailable(Exception):
    """A package cannot be had on this machine; the text says why."""


def install(packages: set[str], told: Callable[[str], None]) -> dict[str, str]:
    """Those of these packages that are missing. What could not be had, by package, with the reason.

    Raises:
        subprocess.CalledProcessError: npm could not.
    """
    INSTALLED.mkdir(parents=True, exist_ok=True)
    wanted = [f"{name}@{version}" for name, version in NPM.items() if name in packages and not _has(name)]
    if wanted:
        told(f"installing {', '.join(wanted)}")
        (INSTALLED / "package.json").write_text('{"private": true}\n')
        program = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", *wanted]
        subprocess.run(program, cwd=INSTALLED, env=_environment(), check=True)
    missing = {}
    for name, parts in PYPI.items():
        package = next(part for part in (name, *parts) if part in VERSIONS)
        if package in packages and not (INSTALLED / name).exists():
            told(f"installing {name}")
            try:
                _from_pypi(name, parts)
            except Unavailable as e:
                missing[package] = str(e)
    return missing


def _from_pypi(name: str, parts: dict[str, str]) -> None:
    """Into an environment of its own, all of it or none. Raises Unavailable."""
    program = interpreter(NEEDS.get(name, (3, 0)))
    pinned = [f"{part}=={version}" if version else part for part, version in parts.items()]
    place = INSTALLED / name
    uv = str(Path(sys.executable).with_name("uv"))
    for command in (["venv", "--python", program, str(place)], ["pip", "install", "--python", str(place), *pinned]):
        done = subprocess.run([uv, *command], capture_output=True, text=True, check=False)
        if done.returncode:
            shutil.rmtree(place, ignore_errors=True)
            raise Unavailable(" ".join(done.stderr.split()))


def interpreter(needed: tuple[int, int]) -> str:
    """A Python of at least this version: ours, one of the path, or one that is installed beside ours. Raises Unavailable."""
    version = ".".join(str(part) for part in needed)
    for program in _interpreters():
        try:
            done = subprocess.run(
                [program, "-c", f"import sys; sys.exit(sys.version_info < {needed})"], capture_output=True, check=False
            )
        except OSError:
            continue
        if done.returncode == 0:
            return program
    raise Unavailable(f"it needs Python {version}; this is {sys.version.split()[0]}, and no other was found")


def _interpreters() -> Iterator[str]:
    yield sys.executable
    for minor in range(12, 20):
        if found := shutil.which(f"python3.{minor}"):
            yield found
    yield from sorted(str(path) for path in Path(sys.base_prefix).parent.glob("3.*/bin/python3"))


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
