"""The Chromium that the browser tests drive: found, or installed once by `make test`.

    python tests/e2e/chromium.py        finds or installs one and prints its path

An installed Chromium or Chrome is used as it is. When there is none, Debian's package is installed (as root or with a
sudo that asks for no password), else Playwright's own build. `$CHROMIUM` names one that is elsewhere.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
MAC_APPS = ("Google Chrome", "Chromium")


class NoChromiumError(RuntimeError):
    """There is no Chromium that starts; the message says what to do."""


def chromium_path() -> Path:
    """The first Chromium that starts.

    Raises:
        NoChromiumError: none does.
    """
    for path in _candidates():
        if version(path):
            return path
    raise NoChromiumError(
        "No Chromium or Chrome that starts was found. Run `make test`, which installs one, or install it yourself "
        "and set CHROMIUM to its path."
    )


def version(path: Path) -> str | None:
    """What the browser calls itself; None when it does not start (Ubuntu has one that only asks for snap)."""
    try:
        done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    said = done.stdout.strip()
    return said if done.returncode == 0 and any(c.isdigit() for c in said) else None


def _candidates() -> Iterator[Path]:
    if chosen := os.environ.get("CHROMIUM"):
        # Named by the person: nothing else is tried, so that a wrong name is noticed.
        yield Path(chosen)
        return
    for name in NAMES:
        if found := shutil.which(name):
            yield Path(found)
    for app in MAC_APPS:
        yield Path(f"/Applications/{app}.app/Contents/MacOS/{app}")
    if own := _playwrights_own():
        yield own


def _playwrights_own() -> Path | None:
    try:
        from playwright.sync_api import sync_playwright

        with sync_playwright() as p:
            own = Path(p.chromium.executable_path)
    except Exception:  # not installed, or no driver for this machine: the next way is tried
        return None
    return own if own.exists() else None


def install() -> Path:
    """Install a Chromium and return its path. Prints what it does.

    Raises:
        NoChromiumError: no way worked; the message has the last lines of each.
    """
    root = _as_root()
    tried: list[str] = []
    if shutil.which("apt-get") and root is not None:
        if _have_candidate():
            say("no Chromium found: installing Debian's with apt-get (about 115 MB, a minute)")
            quiet = {"DEBIAN_FRONTEND": "noninteractive"}
            trouble = run([*root, "apt-get", "-q", "update"], quiet) or run(
                [*root, "apt-get", "-q", "install", "-y", "--no-install-recommends", "chromium"], quiet
            )
            if not trouble and (path := _first()):
                return path
            tried.append(f"apt-get install chromium: {trouble or 'installed, but it does not start'}")
        else:
            tried.append("apt-get: this system has no package chromium")
    say("no Chromium found: installing Playwright's own (about 170 MB)")
    with_deps = ["--with-deps"] if shutil.which("apt-get") and root == [] else []
    trouble = run([sys.executable, "-m", "playwright", "install", *with_deps, "chromium"])
    if not trouble and (path := _first()):
        return path
    tried.append(f"playwright install chromium: {trouble or 'installed, but it does not start: libraries are missing'}")
    raise NoChromiumError(
        "No Chromium could be installed. Install Chromium or Google Chrome and run the command again (or set "
        "CHROMIUM to its path).\n" + "\n".join(tried)
    )


def _first() -> Path | None:
    try:
        return chromium_path()
    except NoChromiumError:
        return None


def _as_root() -> list[str] | None:
    """What to put before a command that needs root; None when it cannot be had without asking."""
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo") and subprocess.run(["sudo", "-n", "true"], capture_output=True).returncode == 0:
        return ["sudo", "-n"]
    return None


def _have_candidate() -> bool:
    """Whether apt has, or before its first update may have, a real package: Ubuntu's is a stub that asks for snap."""
    said = subprocess.run(["apt-cache", "policy", "chromium"], capture_output=True, text=True).stdout
    if "Candidate: (none)" in said:
        return False
    if "Candidate:" in said:
        return "snap" not in said
    release = Path("/etc/os-release").read_text("utf-8") if Path("/etc/os-release").exists() else ""
    return "ID=ubuntu" not in release.splitlines()


def run(command: Sequence[str], extra: dict[str, str] | None = None) -> str:
    """Run a long command with a sign of life every ten seconds. Returns "" when it worked, else its last lines."""
    started = time.monotonic()
    done = threading.Event()

    def alive() -> None:
        while not done.wait(10):
            say(f"{os.path.basename(command[0])}: {time.monotonic() - started:.0f} s")

    threading.Thread(target=alive, daemon=True).start()
    try:
        ended = subprocess.run(
            command, env={**os.environ, **(extra or {})}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors="replace", timeout=900,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as e:
        return str(e)
    finally:
        done.set()
    if ended.returncode == 0:
        return ""
    return (
        "\n".join(["", *(f"    {line}" for line in ended.stdout.strip().splitlines()[-8:])])
        or f"exit {ended.returncode}"
    )


def say(text: str) -> None:
    print(f"· {text}", file=sys.stderr, flush=True)


def main() -> int:
    try:
        path = _first()
        if path is None:
            if os.environ.get("CHROMIUM"):
                raise NoChromiumError(
                    f"CHROMIUM is {os.environ['CHROMIUM']}, which does not start. Correct or unset it."
                )
            path = install()
    except NoChromiumError as e:
        print(e, file=sys.stderr)
        return 1
    say(f"browser: {version(path)} ({path})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
