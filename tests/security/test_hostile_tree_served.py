"""A real server is given a code base that does its worst: it goes on answering, finds what can be found, and keeps its memory. [bad95]"""

from __future__ import annotations

import contextlib
import http.client
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from real_server import Server

from proof import report

PROOF = "Hostile code base, served"
DEEP = int(os.environ.get("DEEP", "100000"))
"""Folders in each other."""
GRAMMARS = "py js ts tsx go rs java kt c cpp cs rb php swift scala lua sh md html css json yaml toml sql tf"
"""A suffix of each."""
SUFFIXES = tuple(GRAMMARS.split(" "))
SOURCES: dict[str, bytes] = {
    "parens": b"(" * 200_000,
    "closed": b"(" * 100_000 + b")" * 100_000,
    "braces": b"{" * 200_000 + b"}" * 200_000,
    "tags": b"<a>" * 100_000,
    "calls": b"f(" * 100_000,
    "minus": b"-" * 900_000,
    "quotes": b"'\"`" * 200_000,
    "nuls": b"\0" * 300_000,
    "not-text": bytes(range(128, 256)) * 4000,
    "bidi": "\u202e\u2066if admin:\u2069".encode() * 20_000,
    "definitions": b"".join(b"def f%d(): pass\n" % n for n in range(50_000)),
    "one-line": b"def a(): return " + b"1+" * 400_000 + b"1",
    "lists": b"[" * 100_000 + b"1" + b"]" * 100_000,
    "anchors": b"a: &a [x]\n" + b"".join(b"b%d: &b%d [*a,*a,*a,*a]\n" % (n, n) for n in range(9000)),
    "indents": b"".join(b" " * (n % 4000) + b"if x:\n" for n in range(400)),
}
GOOD = "def sweep_zebras(zebras):\n    return [z for z in zebras if not z.idle]\n"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path)
    yield server
    server.close()
    # Too deep for anything that counts paths.
    subprocess.run(["rm", "-rf", str(server.root)], check=True)


def hostile(root: Path) -> int:
    """How many files of hostile source there are."""
    (root / "src").mkdir(exist_ok=True)
    (root / "src/zebra.py").write_text(GOOD)
    os.mkfifo(root / "src/pipe.py")
    (root / "src/zero.py").symlink_to("/dev/zero")
    (root / "src/itself.py").symlink_to("itself.py")
    (root / "src/passwords.py").symlink_to("/etc/passwd")
    (root / "src/up").symlink_to("..")
    with (root / "src/terabyte.py").open("wb") as file:
        file.truncate(1 << 40)
    for name in (
        b"new\nline.py",
        b"esc\x1b[31m.py",
        b"bad\xff.py",
        "left\u202eright.py".encode(),
        b"-rf.py",
        b"$(id).py",
    ):
        with open(os.fsencode(root) + b"/src/" + name, "wb") as file:
            file.write(b"def odd(): pass\n")
    (root / "hostile").mkdir()
    for suffix in SUFFIXES:
        for name, text in SOURCES.items():
            (root / "hostile" / f"{name}.{suffix}").write_bytes(text)
    here = os.open(root, os.O_RDONLY)
    for _ in range(DEEP):
        os.mkdir("d", dir_fd=here)
        deeper = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = deeper
    os.close(here)
    return len(SUFFIXES) * len(SOURCES)


class Asking(threading.Thread):
    """Asks for `/healthz` ten times a second, and remembers the longest it waited."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.port, self.ended = port, threading.Event()
        self.asked, self.longest, self.failed = 0, 0.0, list[str]()

    def run(self) -> None:
        while not self.ended.wait(0.1):
            began = time.monotonic()
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
            try:
                connection.request("GET", "/healthz", headers={"Host": f"localhost:{self.port}"})
                status = connection.getresponse().status
                if status != 200:
                    self.failed.append(str(status))
            except OSError as e:
                self.failed.append(repr(e))
            finally:
                connection.close()
            self.asked += 1
            self.longest = max(self.longest, time.monotonic() - began)


def memory(pid: int) -> float:
    """MB that a process holds now."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_a_server_of_a_hostile_code_base_goes_on(server: Server) -> None:
    began = time.monotonic()
    sources = hostile(server.root)
    server.start()
    assert server.process is not None
    pid = server.process.pid
    asking = Asking(server.port)
    asking.start()

    def until_found(path: str, word: str) -> str:
        end = time.monotonic() + 900
        while True:
            with contextlib.suppress(OSError):  # 503 while it starts
                if word in (answer := str(server.call("GET", path))):
                    return answer
            assert time.monotonic() < end and server.is_up, (server.folder / "server.err").read_text()[-2000:]
            time.sleep(0.5)

    until_found("/api/code/map?query=sweep+zebras", "sweep_zebras")
    until_found("/api/code/symbol?name=sweep_zebras", "src/zebra.py")
    session = server.call("POST", "/api/sessions", {})["session_id"]
    server.call(
        "POST",
        f"/api/sessions/{session}/messages",
        {"type": "default", "id": "m1", "content": "Where is sweep_zebras?"},
    )
    end = time.monotonic() + 600
    rows = server.rows(session)
    while not any(row["type"] == "completed" for row in rows):
        assert time.monotonic() < end, rows[-3:]
        time.sleep(0.5)
        rows = server.rows(session)
    assert rows[-1]["content"]["outcome"] == "success" and "src/zebra.py" in str(rows)
    assert "root:" not in str(rows)
    for name in SOURCES:  # each is asked for by name: what a lazy reader would parse only then
        for suffix in ("py", "js", "c", "json", "yaml"):
            with contextlib.suppress(OSError):
                server.call("GET", f"/api/code/map?focus=hostile/{name}.{suffix}&tokens=256")
    used = memory(pid)
    asking.ended.set()
    asking.join()
    assert asking.failed == [] and server.is_up and server.process.pid == pid
    errors = (server.folder / "server.err").read_text()
    assert "Traceback" not in errors, errors[-3000:]
    assert used < 1000, f"{used:.0f} MB"
    report(
        PROOF,
        f"{sources} files of hostile source in {len(SUFFIXES)} languages, {DEEP:,} folders in each other, pipe, device, loops, 1 TB: the "
        f"server answered {asking.asked:,} of {asking.asked:,} other requests meanwhile (at most {asking.longest:.1f} s), the answer was "
        f"found, {used:.0f} MB held",
        seconds=time.monotonic() - began,
    )


@pytest.mark.long
def test_who_parses_in_the_same_process_dies() -> None:
    """The control: what a parser's own text of such a tree does to the process that asks for it."""
    program = (
        "import tree_sitter, tree_sitter_python\n"
        "parser = tree_sitter.Parser(tree_sitter.Language(tree_sitter_python.language()))\n"
        "str(parser.parse(b'(' * 100_000 + b')' * 100_000).root_node)\n"
    )
    code = subprocess.run([sys.executable, "-c", program], check=False, timeout=120).returncode
    assert code < 0, code
    report(PROOF, control=f"the text of such a tree, asked for in the same process, kills it (signal {-code})")
