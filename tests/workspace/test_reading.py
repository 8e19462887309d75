"""Pages of text out of files of any size and kind, and their fingerprints."""

from __future__ import annotations

import json
import os
import subprocess
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconvene.config import Limits
from reconvene.errors import ReconveneError
from reconvene.workspace import workspace as workspace_module
from reconvene.workspace.reading import blob_id, decode_text, read_slice
from reconvene.workspace.workspace import Workspace

Serve = Callable[..., Workspace]


def test_a_file_comes_whole(root: Path, serve: Serve) -> None:
    (root / "f").write_bytes(b"one\ntwo\nthree\n")
    got = serve().read("f")
    assert (got.path, got.start, got.end, got.total_lines, got.text) == ("f", 1, 3, 3, "one\ntwo\nthree")
    assert (got.truncated, got.next_start, got.size) == (False, None, 14)


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"", []),
        (b"a", ["a"]),
        (b"a\n", ["a"]),
        (b"\n", [""]),
        (b"a\n\n", ["a", ""]),
        (b"a\r\nb\r\n", ["a", "b"]),
        (b"a\rb\n", ["a␍b"]),
        (b"a\x0cb\x0bc\x1cd\n", ["a␌b␋c␜d"]),
        ("a\u2028b\x85c\n".encode(), ["a\u2028b\ufffdc"]),
        (b"\xef\xbb\xbfa\nb", ["a", "b"]),
        (b"\xff\xfea\0\n\0\xfc\0", ["a", "ü"]),
        (b"\xfe\xff\0a\0\n\0\xfc", ["a", "ü"]),
        (b"\xff\xfe\x00\xd8\n\0b\0", ["\ufffd", "b"]),
        (b"caf\xe9\n", ["caf\ufffd"]),
        (b"\xed\xa0\x80\n", ["\ufffd\ufffd\ufffd"]),
        (b"\x1b[31mred\x1b[0m\x7f\n", ["␛[31mred␛[0m␡"]),
        (b"\ta\n", ["\ta"]),
    ],
    ids=[
        "empty", "no-end", "one", "blank", "blank-last", "crlf", "lone-cr", "form-feed-is-no-line-end", "unicode-line-end-is-none",
        "utf8-bom", "utf16-le", "utf16-be", "utf16-lone-surrogate", "latin-1", "encoded-surrogate", "ansi", "tab",
    ],
)  # fmt: skip
def test_lines_are_told_apart_and_text_is_plain(root: Path, serve: Serve, data: bytes, lines: list[str]) -> None:
    (root / "f").write_bytes(data)
    for workspace in (serve(), serve(indexed_file=1, file_read=64)):  # at once, and streamed
        got = workspace.read("f")
        assert got.text == "\n".join(lines)
        assert (got.total_lines, got.end) == (len(lines), len(lines))
        json.dumps(got.text, ensure_ascii=False).encode()
    text = decode_text(data)
    assert text is not None
    assert text in ("\n".join(lines), "\n".join([*lines, ""]))


def test_pages_follow_one_another(root: Path, serve: Serve) -> None:
    lines = [f"line {n} " + "x" * (n % 50) for n in range(1, 400)]
    (root / "f").write_text("\n".join(lines) + "\n")
    for workspace in (serve(), serve(indexed_file=100)):
        start, read = 1, []
        while start is not None:
            got = workspace.read("f", start=start, max_bytes=500)
            assert got.text
            assert len(got.text) <= 500
            assert got.truncated == (got.next_start is not None)
            read += got.text.split("\n")
            start = got.next_start
        assert read == lines


def test_a_range_is_what_was_asked(root: Path, serve: Serve) -> None:
    (root / "f").write_text("a\nb\nc\nd\n")
    workspace = serve()
    got = workspace.read("f", start=2, end=3)
    assert (got.text, got.start, got.end, got.truncated, got.next_start, got.total_lines) == ("b\nc", 2, 3, False, 4, 4)
    got = workspace.read("f", start=4, end=99)
    assert (got.text, got.end, got.truncated, got.next_start) == ("d", 4, False, None)
    got = workspace.read("f", start=1, end=4, max_bytes=3)
    assert (got.text, got.end, got.truncated, got.next_start) == ("a\nb", 2, True, 3)
    with pytest.raises(ReconveneError, match=r"invalid_field.* 4 lines"):
        workspace.read("f", start=5)
    for start, end in ((0, None), (3, 2), (-1, 5)):
        with pytest.raises(ReconveneError, match="invalid_field"):
            workspace.read("f", start=start, end=end)


@given(
    data=st.lists(st.sampled_from([b"a", b"\n", b"\r", b"\r\n", "é".encode(), b"\xff", b"bcd"]), max_size=40).map(
        b"".join
    ),
    start=st.integers(1, 12),
    span=st.none() | st.integers(0, 12),
    room=st.integers(1, 30),
    line=st.integers(1, 12),
    chunk=st.integers(1, 7),
)
def test_any_page_of_any_text(data: bytes, start: int, span: int | None, room: int, line: int, chunk: int) -> None:
    """Against splitting the text in the plainest way, whatever the pieces in which it is read."""
    want = data.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "␍").split("\n")
    if want[-1] == "":
        want.pop()
    end = None if span is None else start + span
    fd = os.memfd_create("f") if hasattr(os, "memfd_create") else os.open("/tmp", os.O_TMPFILE | os.O_RDWR)
    try:
        os.write(fd, data)
        limits = Limits(indexed_file=0, line=line)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("reconvene.workspace.reading._CHUNK", chunk)
            try:
                got = read_slice("f", fd, os.fstat(fd), start=start, end=end, max_bytes=room, limits=limits)
            except ReconveneError as e:
                assert e.code == "invalid_field"
                assert start > len(want)
                return
    finally:
        os.close(fd)
    read = got.text.split("\n") if got.end >= start else []
    assert len(read) == got.end - start + 1
    longest = min(line, room)
    for told, true in zip(read, want[start - 1 :], strict=False):
        cut = len(true.encode()) > longest
        assert (" … [line cut here: " in told) == cut
        if not cut:
            assert told == true
    assert got.total_lines == len(want)
    assert got.next_start == (got.end + 1 if got.end < len(want) else None)
    assert read or not want


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 20, "PNG image"),
        (b"%PDF-1.7 no zero byte", "PDF document"),
        (b"\x7fELF\x02", "ELF program"),
        (b"a\0b", "binary data"),
        (b"\xff\xfe\0\0a\0\0\0", "binary data"),
    ],
    ids=["bad86-png", "bad86-pdf", "bad86-elf", "bad86-nul", "bad86-utf32"],
)
def test_what_is_not_text_is_not_read(root: Path, serve: Serve, data: bytes, kind: str) -> None:
    (root / "f").write_bytes(data)
    with pytest.raises(ReconveneError) as e:
        serve().read("f")
    assert (e.value.code, e.value.details["size"], e.value.details["kind"]) == ("binary_file", len(data), kind)
    assert decode_text(data) is None
    assert serve().fingerprint("f") == blob_id(data)


@pytest.mark.parametrize("size", [1 << 30, 1 << 40], ids=["bad87-gigabyte", "bad87-terabyte"])
def test_a_sparse_file_with_text_in_front(root: Path, serve: Serve, size: int) -> None:
    head = "".join(f"line {n}\n" for n in range(1, 2001))
    (root / "f").write_text(head)
    os.truncate(root / "f", size)
    workspace = serve(file_read=4096, line=1000)
    workspace.read("f")  # what is imported on the way is not the file's
    tracemalloc.start()
    got = workspace.read("f")
    last = workspace.read("f", start=1999)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000
    assert got.text.startswith("line 1\nline 2\n")
    assert (got.size, got.total_lines, got.truncated, got.next_start) == (size, None, True, got.end + 1)
    assert got.fingerprint == workspace.fingerprint("f")
    assert got.fingerprint.startswith(f"big-{size}-")
    assert last.text.startswith("line 1999\nline 2000\n␀␀␀")
    assert "[line cut here: it has more than " in last.text
    assert (last.end, last.truncated, last.next_start) == (2001, True, None)
    with pytest.raises(ReconveneError, match=r"too_large.*Line 3,000"):
        workspace.read("f", start=3000)
    with pytest.raises(ReconveneError, match="too_large"):
        workspace.read_bytes("f", max_bytes=1 << 20)


@pytest.mark.parametrize("size", [1 << 40], ids=["bad87-hole"])
def test_a_hole_is_binary(root: Path, serve: Serve, size: int) -> None:
    (root / "f").touch()
    os.truncate(root / "f", size)
    with pytest.raises(ReconveneError, match="binary_file"):
        serve().read("f")


@pytest.mark.parametrize("char", ["x", "é", "🙂"], ids=["bad88-ascii", "bad88-two-bytes", "bad88-four-bytes"])
def test_one_line_of_50_megabytes(root: Path, serve: Serve, char: str) -> None:
    width = len(char.encode())
    with open(root / "f", "wb") as f:
        for _ in range(50):
            f.write(char.encode() * (1_000_000 // width))
        f.write(b"\nlast\n")
    workspace = serve()
    tracemalloc.start()
    got = workspace.read("f")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4_000_000
    first, last = got.text.split("\n")
    assert first.startswith(char * (20_000 // width) + " … [line cut here: it has 50,000,000 bytes]")
    assert (last, got.total_lines, got.truncated, got.next_start) == ("last", 2, True, None)


def test_the_fingerprint_is_gits(root: Path, serve: Serve, git: Callable[..., str]) -> None:
    workspace = serve(indexed_file=1000)
    git(root, "init")
    for data in (b"", b"a\r\n", b"\0\xff" * 400, b"x" * 1000):
        (root / "f").write_bytes(data)
        assert workspace.fingerprint("f") == blob_id(data) == git(root, "hash-object", "f").strip()
    assert workspace.read("f").fingerprint == blob_id(b"x" * 1000)
    (root / "f").write_bytes(b"x" * 1001)
    big = workspace.fingerprint("f")
    assert big == workspace.read("f").fingerprint != blob_id(b"x" * 1001)
    st = (root / "f").stat()
    os.utime(root / "f", ns=(st.st_atime_ns, st.st_mtime_ns + 1))
    assert workspace.fingerprint("f") != big


def test_no_fingerprint_where_nothing_can_be_read(root: Path, serve: Serve) -> None:
    workspace = serve()
    (root / ".env").write_text("KEY=1")
    os.mkfifo(root / "pipe")
    (root / "out").symlink_to("../outside")
    for path in ("missing", ".env", "pipe", "out", "", "a\0", "..", "x" * 999):
        assert workspace.fingerprint(path) is None
        if path != ".env":
            assert workspace.stat(path) is None


@pytest.mark.parametrize(
    "path", [".env", "./.env", "config/../.env", "link", "folder/key.pem", ".git/config"], ids=lambda p: f"bad90-{p}"
)
def test_a_secret_is_not_read(root: Path, serve: Serve, path: str) -> None:
    (root / ".env").write_text("KEY=SECRET")
    (root / "link").symlink_to(".env")
    (root / ".ssh").mkdir()
    (root / ".ssh/key.pem").write_text("SECRET")
    (root / "folder").symlink_to(".ssh")
    (root / ".git").mkdir()
    (root / ".git/config").write_text("token = SECRET")
    code = "path_outside_root" if ".." in path else "secret_file"
    for read in (lambda: serve().read(path), lambda: serve().read_bytes(path, max_bytes=100)):
        with pytest.raises(ReconveneError) as e:
            read()
        assert e.value.code == code
        assert "SECRET" not in str(e.value)


def test_bad90_the_check_is_what_holds_it(root: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mutation control: by the name that was asked, instead of the one behind the link, the secret comes out."""
    (root / ".env").write_text("KEY=SECRET")
    (root / "link").symlink_to(".env")
    monkeypatch.setattr(workspace_module, "is_secret", lambda real: False)
    assert serve().read("link").text == "KEY=SECRET"


def test_bad82_a_name_that_is_not_utf8_is_read_by_what_is_shown(root: Path, serve: Serve) -> None:
    with open(os.fsencode(root) + b"/b\xff\x0a.py", "wb") as f:
        f.write(b"ok")
    (root / "back\\slash").write_text("raw")
    workspace = serve()
    (path,) = [p for p in workspace.listing().paths if p.startswith("b\udcff")]
    got = workspace.read(path)
    assert (got.path, got.text) == (r"b\xff\x0a.py", "ok")
    assert workspace.read(got.path) == got
    assert workspace.stat(got.path) == workspace.stat(path) is not None
    assert workspace.fingerprint(got.path) == workspace.fingerprint(path) == got.fingerprint
    assert workspace.read_bytes(got.path, max_bytes=9) == b"ok"
    for name in ("back\\slash", "back\\\\slash"):
        assert workspace.read(name).text == "raw"
    long = b"\xff" * 255
    with open(os.fsencode(root) + b"/" + long, "wb") as f:
        f.write(b"long")
    assert workspace.read("\\xff" * 255).text == "long"


def test_what_is_written_meanwhile_is_read_again(root: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "f").write_text("old text")
    calls = []

    def slow(*args: object, **kwargs: object) -> object:
        got = read_slice(*args, **kwargs)  # type: ignore[arg-type]
        calls.append(got.text)
        if len(calls) == 1:
            (root / "f").write_text("new")
        return got

    monkeypatch.setattr(workspace_module, "read_slice", slow)
    got = serve().read("f")
    assert calls == ["old text", "new"]
    assert (got.text, got.fingerprint) == ("new", blob_id(b"new"))


def test_bad92_a_root_that_went_away_takes_its_files_along(root: Path, serve: Serve) -> None:
    (root / "f").write_text("x")
    workspace = serve()
    root.rename(root.with_name("moved"))
    for call in (
        workspace.check_alive,
        workspace.listing,
        lambda: workspace.read("f"),
        lambda: workspace.read_bytes("f", max_bytes=9),
        lambda: workspace.fingerprint("f"),
        lambda: workspace.stat("missing"),
    ):
        with pytest.raises(ReconveneError, match="workspace_gone"):
            call()
    root.with_name("moved").rename(root)
    assert workspace.read("f").text == "x"


def test_no_import_of_what_is_heavy() -> None:
    """The room is loaded when the server starts: it must not bring in what takes long."""
    import sys

    script = (
        "import sys, reconvene.workspace; print([m for m in ('pydantic_ai', 'numpy', 'fastapi') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
