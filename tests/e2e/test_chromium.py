"""Finding and installing the browser, with programs that only pretend."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import chromium
import pytest

Program = Callable[[str, str], Path]


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """Writes a shell script into the only folder on PATH. Playwright's own browser is out of sight."""
    bin_dir = tmp_path / "bin"
    bin_dir.mkdir()
    monkeypatch.setenv("PATH", str(bin_dir))
    monkeypatch.delenv("CHROMIUM", raising=False)
    monkeypatch.setattr(chromium, "_playwrights_own", lambda: None)
    monkeypatch.setattr(chromium, "MAC_APPS", ())

    def write(name: str, script: str) -> Path:
        path = bin_dir / name
        path.write_text(f"#!/bin/sh\nPATH=/bin:/usr/bin\n{script}\n")
        path.chmod(0o755)
        return path

    return write


def test_the_first_that_starts_is_taken(program: Program) -> None:
    program("chromium", "echo 'please install the snap' >&2; exit 1")
    chrome = program("google-chrome", "echo Google Chrome 150.0.1")
    assert chromium.chromium_path() == chrome


def test_none_is_a_sentence(program: Program) -> None:
    with pytest.raises(chromium.NoChromiumError, match="install it yourself"):
        chromium.chromium_path()


def test_a_wrong_CHROMIUM_is_noticed_although_another_is_there(
    program: Program, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program("chromium", "echo Chromium 150.0")
    monkeypatch.setenv("CHROMIUM", "/nowhere/chromium")
    assert chromium.main() == 1
    assert "/nowhere/chromium, which does not start" in capsys.readouterr().err


def test_apt_installs_it(program: Program, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    browser = program("apt-get", "").parent / "chromium"
    program("apt-cache", "echo '  Candidate: 150.0'")
    install = f"printf '#!/bin/sh\\necho Chromium 150.0\\n' > {browser}; chmod +x {browser}"
    program("apt-get", f'case "$*" in *install*) {install};; esac')
    assert chromium.main() == 0
    assert "installing Debian's with apt-get" in (said := capsys.readouterr().err)
    assert f"Chromium 150.0 ({browser})" in said


def test_when_every_way_fails_each_reason_is_shown(
    program: Program, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    program("apt-get", "echo 'E: no network'; exit 100")
    program("apt-cache", "echo '  Candidate: 150.0'")
    monkeypatch.setattr(chromium.sys, "executable", str(program("python", "echo 'download failed'; exit 1")))
    assert chromium.main() == 1
    said = capsys.readouterr().err
    assert "E: no network" in said
    assert "download failed" in said
    assert "set CHROMIUM to its path" in said.replace("\n", " ")
