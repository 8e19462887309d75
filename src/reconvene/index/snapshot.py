"""One segment as a file that is mapped into memory: a restart serves at once, and what is not asked for is never read.

The file is written whole under another name, synced and renamed; it carries what it was made by and a checksum. One that is missing,
torn, or made otherwise is no loss: everything in it is made again from the stored analyses.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import fields
from functools import cache
from pathlib import Path
from struct import Struct
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from reconvene.index import roles
from reconvene.index.segment import Postings, Segment
from reconvene.workspace.names import decode, encode

RECIPE = 4
"""Raise it when the same analyses would make another segment, or the file's form changes."""
_MAGIC = b"reconvene index\n"
_HEAD = Struct("<16sI")
"""Magic, bytes of the description that follows."""
_ALIGNED = 64
_CHECK = 16
"""Bytes of the checksum at the end."""
_PIECE = 1 << 20
_POSTINGS = ("chunks", "names", "symbols", "stems", "folders")
_LISTS = ("paths", "blobs", "number")
_COLUMNS = tuple(f.name for f in fields(Segment) if f.name not in (*_POSTINGS, *_LISTS))
_BLOB = 20


def write(path: Path, segment: Segment, made_by: str) -> None:
    """Make the file, or replace it. When it returns, the file is on the disk.

    Args:
        made_by: names everything else that the segment depends on; `read` takes no file made by another.

    Raises:
        OSError: it cannot be written; what was there before is as it was.
    """
    columns = dict(_columns(segment))
    shapes = [[name, column.dtype.str, len(column)] for name, column in columns.items()]
    described = json.dumps({"made_by": _made_by(made_by), "columns": shapes}).encode()
    new = path.with_name(path.name + ".new")
    try:
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb", _PIECE) as file:
            check = xxhash.xxh3_128()

            def put(data: bytes | memoryview) -> None:
                check.update(data)
                file.write(data)

            at = _HEAD.size + len(described)
            put(_HEAD.pack(_MAGIC, len(described)) + described)
            for column in columns.values():
                put(bytes(-at % _ALIGNED))
                at += -at % _ALIGNED + column.nbytes
                # Piece by piece, so that other threads come in between.
                data = column.tobytes() if column.nbytes <= _PIECE else column.view(np.uint8).data
                for begin in range(0, len(data), _PIECE):
                    put(data[begin : begin + _PIECE])
            file.write(check.digest())
            file.flush()
            os.fsync(file.fileno())
        new.rename(path)
        _sync_folder(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            new.unlink()
        raise


def read(path: Path, made_by: str) -> Segment | None:
    """The segment, its columns in the mapped file; None when there is no whole file of this recipe."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        size = os.fstat(fd).st_size
        if size < _HEAD.size + _CHECK or not _is_whole(fd, size):
            return None
        mapped = mmap.mmap(fd, 0, prot=mmap.PROT_READ)
    except (OSError, ValueError):
        return None
    finally:
        os.close(fd)
    magic, length = _HEAD.unpack_from(mapped)
    described = json.loads(mapped[_HEAD.size : _HEAD.size + length])
    if magic != _MAGIC or described["made_by"] != _made_by(made_by):
        return None
    return _segment(dict(_mapped(mapped, _HEAD.size + length, described["columns"])))


def _columns(segment: Segment) -> Iterator[tuple[str, NDArray[Any]]]:
    for name in _COLUMNS:
        yield name, getattr(segment, name)
    for name in _POSTINGS:
        postings = getattr(segment, name)
        for part in fields(Postings):
            yield f"{name}.{part.name}", getattr(postings, part.name)
    yield "paths", np.frombuffer(b"\0".join(map(encode, segment.paths)), np.uint8)
    yield "has_blob", np.array([blob is not None for blob in segment.blobs], np.bool_)
    yield "blobs", np.frombuffer(b"".join(blob or bytes(_BLOB) for blob in segment.blobs), np.uint8)


def _mapped(mapped: mmap.mmap, at: int, columns: list[tuple[str, str, int]]) -> Iterator[tuple[str, NDArray[Any]]]:
    for name, dtype, count in columns:
        at += -at % _ALIGNED
        column = np.frombuffer(mapped, np.dtype(dtype), count, at)
        at += column.nbytes
        yield name, column


def _segment(columns: dict[str, NDArray[Any]]) -> Segment:
    joined = columns["paths"].tobytes()
    paths = tuple(map(decode, joined.split(b"\0"))) if joined else ()
    blobs, known = columns["blobs"].tobytes(), columns["has_blob"].tolist()
    values: dict[str, Any] = {name: columns[name] for name in _COLUMNS}
    for name in _POSTINGS:
        values[name] = Postings(*(columns[f"{name}.{part.name}"] for part in fields(Postings)))
    return Segment(
        paths=paths,
        blobs=tuple(blobs[_BLOB * i : _BLOB * (i + 1)] if known[i] else None for i in range(len(paths))),
        number={path: i for i, path in enumerate(paths)},
        **values,
    )


def _is_whole(fd: int, size: int) -> bool:
    """Reads the file rather than the mapped memory: pages that nobody asks for are not to count as this process's."""
    check, piece, left = xxhash.xxh3_128(), bytearray(_PIECE), size - _CHECK
    while left:
        got = os.readv(fd, [memoryview(piece)[: min(left, _PIECE)]])
        if not got:
            return False
        check.update(memoryview(piece)[:got])
        left -= got
    return os.read(fd, _CHECK) == check.digest()


@cache
def _role_rules() -> str:
    """What the parts files play are told by: a segment holds them."""
    told = {
        name: (value.pattern, value.flags) if isinstance(value, re.Pattern) else sorted(value)
        for name, value in vars(roles).items()
        if isinstance(value, re.Pattern | frozenset)
    }
    code = [
        (f.__wrapped__.__code__.co_code, f.__wrapped__.__code__.co_consts) for f in (roles.role_of, roles.of_folder)
    ]
    return xxhash.xxh3_64_hexdigest(repr((sorted(told.items()), code, roles.ROLES)).encode())


def _made_by(made_by: str) -> str:
    return f"{RECIPE}.{sys.byteorder}.{_role_rules()}.{made_by}"


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
