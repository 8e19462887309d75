"""What is fuzzed: functions of bytes that must never raise anything but their own typed refusal, and what must hold of what they give.

Used twice: by `fuzz.py` under atheris, which steers by coverage, for minutes; and by `test_fuzz.py`, which mutates the same seeds for a
second. A target raises nothing when all is well.
"""

from __future__ import annotations

import base64
import json
import random
import re
from collections.abc import Callable
from contextlib import suppress

from reconvene.agents import edit_blocks, edit_format
from reconvene.agents.edit_format import Edit, Unusable
from reconvene.errors import ReconveneError
from reconvene.protocol import cursor as cursor_module
from reconvene.protocol import parsing, strict_json
from reconvene.protocol.cursor import Cursor
from reconvene.protocol.frames import PlainFrame
from reconvene.workspace.edits import as_patch, change, change_of, chosen, lines

DEPTH = 32


def frames(data: bytes) -> None:
    """A frame, as the first of a connection and as a later one of either kind."""
    for parse in (
        parsing.parse_first,
        lambda text: parsing.parse_resumable(text, first=False),
        lambda text: parsing.parse_plain(text),
    ):
        try:
            frame = parse(data)
        except parsing.FrameRefused as e:
            said = e.content()
            assert e.message.endswith((".", "…")) and len(e.message) < 2000, said
            _storable(said)
            continue
        if isinstance(frame, PlainFrame):
            parsing.plain_key(frame)
            _storable([frame.content, frame.config, frame.root_directory, frame.turn])
        else:
            parsing.body_hash(frame)
            _storable(frame.model_dump(mode="json"))
            # What was taken is the same when it is written and read again: nothing hangs on how it was spelled.
            again = parse(frame.model_dump_json(exclude_unset=True))
            assert not isinstance(again, PlainFrame) and parsing.body_hash(again) == parsing.body_hash(frame)


def _storable(value: object) -> None:
    """As the log, the socket and SQLite need it."""
    text = json.dumps(value, ensure_ascii=False)
    assert text.encode().decode() == text


def cursors(data: bytes) -> None:
    """A cursor, as it is sent and as what is wrapped in it, is read or refused; what is read is written the same way again."""
    for text in (data.decode("utf-8", "surrogateescape"), base64.urlsafe_b64encode(data).decode().rstrip("=")):
        try:
            cursor = Cursor.parse(text)
        except ReconveneError as e:
            assert e.code == "invalid_field"
            continue
        assert 0 <= cursor.seq < 10**15 and len(cursor.tag) == 8
        assert Cursor.parse(str(cursor)) == cursor


def edits(data: bytes) -> None:
    """A file and a model's answer, divided by the first NUL: what the answer makes of the file."""
    content, _, answer = data.partition(b"\0")
    files = {"a.py": content, "b.py": b"one\ntwo\n"}
    try:
        written = edit_format.parse(answer.decode("utf-8", "surrogateescape"))
        changed = edit_blocks.carry_out(written.steps, files.get)
    except Unusable as e:
        assert str(e)
        return
    for file in changed:
        assert file.base == files.get(file.old_path or file.path)
        if file.base is None or file.new is None:
            continue
        for step in written.steps:
            if isinstance(step, Edit) and step.path == file.path:
                for block in step.blocks:
                    _stands_once(file.base, block.search)
        _a_diff(file.base, file.new)


def _stands_once(content: bytes, search: tuple[str, ...]) -> None:
    """The lines of a block that was carried out were in the file exactly once: counted here another way than there."""
    text = content.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    plain = [line.removesuffix("\r") for line in text.split("\n")]
    if text and not text.endswith("\n"):
        plain[-1] = text.split("\n")[-1]  # the last one has no end of which "\r" could be a part
    if text.endswith("\n") or not text:
        plain.pop()
    if search:
        count = sum(plain[at : at + len(search)] == list(search) for at in range(len(plain)))
        assert count == 1, (count, search)


def diffs(data: bytes) -> None:
    """Two contents, divided by the first NUL."""
    base, _, new = data.partition(b"\0")
    _a_diff(base, new)


def _a_diff(base: bytes, new: bytes) -> None:
    """All hunks make the new content, none the old one; each by itself changes what it says and nothing else."""
    proposed = change_of("a.py", base, new)
    ids = [hunk.id for hunk in proposed.hunks]
    assert chosen(proposed, base, new, ids) == new
    assert chosen(proposed, base, new, []) == base
    assert (base == new) == (not ids)
    as_patch([(proposed, base, new)]).encode()
    for one in ids[:3]:
        alone = chosen(proposed, base, new, [one])
        assert alone is not None and alone != base
        # The others, put on top of it, make the whole.
        rest = change_of("a.py", alone, new)
        assert chosen(rest, alone, new, [hunk.id for hunk in rest.hunks]) == new
    with suppress(ReconveneError):
        chosen(proposed, base, new, ["nothing"])
        raise AssertionError("a hunk that is not there was taken")


TARGETS: dict[str, Callable[[bytes], None]] = {"frames": frames, "cursors": cursors, "edits": edits, "diffs": diffs}

SESSION = "s_" + "a" * 22
SEEDS: dict[str, list[bytes]] = {
    "frames": [
        b'{"type":"default","content":"Why?","config":{"session_id":null,"root_directory":"a","model":"offline"}}',
        b'{"type":"default","id":"m1","proto":1,"content":"Why?","delivery":"steer","client":{"id":"c","name":"n"}}',
        json.dumps(
            {
                "type": "hello",
                "proto": 1,
                "config": {"session_id": SESSION, "cursor": str(Cursor("e1", 7, "0a0b0c0d")), "max_iterations": 3},
            }
        ).encode(),
        b'{"type":"answer","id":"a1","reply_to":"q1","content":{"a":[1,2.5,true,null,"\\u00e9"]}}',
        b'{"type":"decision","id":"d1","reply_to":"x","content":{"verdict":"accept","hunks":["h1"],"feedback":"no"}}',
        b'{"type":"action","id":"a2","content":{"name":"rename","args":{"title":"\\ud83d\\ude00"}}}',
        b'{"type":"cancel","id":"c1","content":{"run_id":"r1"}}',
        b'{"type":"ping","content":{"t":1}}',
        b'{"type":"confirmation","content":"y"}',
        b"[" * (DEPTH + 2),
    ],
    "cursors": [str(Cursor("e1", 7, "0a0b0c0d")).encode(), b"e1.7.0a0b0c0d", b"ZTEuMC4wMDAwMDAwMA", b"===="],
    "edits": [
        b"one\ntwo\nthree\n\0" + edit_format.FORMAT.replace("path/of/file.py", "a.py").encode(),
        b"one\ntwo\nthree\0*** edit a.py\n<<<<<<< SEARCH\ntwo\n=======\n2\n>>>>>>> REPLACE\n",
        b"\xef\xbb\xbfone\r\ntwo\r\n\0*** edit a.py\n<<<<<<< SEARCH\none\n=======\n>>>>>>> REPLACE\n*** delete b.py\n",
        b"\0*** create c.py\n<<<<<<< CONTENT\nx\n>>>>>>> END (no newline)\n*** rename b.py -> d.py\n",
        b"a\na\n\xff\n\0*** edit a.py\n<<<<<<<< SEARCH\na\n========\n=======\n>>>>>>>> REPLACE\n",
    ],
    "diffs": [
        b"one\ntwo\nthree\n\0one\n2\nthree\n",
        b"a\nb\nc\nd\ne\nf\ng\nh\ni\n\0A\nb\nc\nd\ne\nf\ng\nh\nI",
        b"\xff\r\n\r\n\0\xff\n",
        b"a\n" * 30 + b"\0" + b"a\nb\n" * 20,
    ],
}
WORDS: dict[str, list[bytes]] = {
    "frames": [
        b'"type"', b'"proto":1', b'"content"', b'"config"', b'"session_id"', b'"cursor"', b'"hello"', b'"default"', b'"decision"',
        b"\\ud800", b"\\udfff", b"\\u0000", b"NaN", b"1e999", b"-0", b"9223372036854775808", b"\xef\xbb\xbf", b'{"":', b"[[[[[[[[",
        b"]]]]]]]]",
        b"null", b"\xed\xa0\x80", SESSION.encode(),
    ],
    "cursors": [b".", b"=", b"ZTEu", b"-", b"_", b"\xc2\xb2", b"00000000"],
    "edits": [
        b"*** edit a.py\n", b"*** create c.py\n", b"*** delete b.py\n", b"*** rename a.py -> c.py\n", b"<<<<<<< SEARCH\n", b"=======\n",
        b">>>>>>> REPLACE\n", b"<<<<<<< CONTENT\n", b">>>>>>> END\n", b"\r\n", b"\xef\xbb\xbf", b"\0",
    ],
    "diffs": [b"\r\n", b"\n\n", b"\0", b"\xff", b"a\na\na\n", b"\\ No newline at end of file"],
}  # fmt: skip


def mutated(target: str, rng: random.Random) -> bytes:
    """A seed, or two of them, with some of its bytes changed, cut, doubled or replaced by a word of the format."""
    data = bytearray(rng.choice(SEEDS[target]))
    for _ in range(rng.randint(1, 8)):
        at, end = sorted((rng.randint(0, len(data)), rng.randint(0, len(data))))
        match rng.randrange(6):
            case 0:
                data[at:at] = rng.choice(WORDS[target])
            case 1:
                data[at:end] = rng.choice(WORDS[target])
            case 2:
                data[at:end] = b""
            case 3:
                data[at:at] = data[at:end]
            case 4 if data:
                data[min(at, len(data) - 1)] = rng.randrange(256)
            case _:
                other = rng.choice(SEEDS[target])
                data[at:end] = other[rng.randint(0, len(other)) :]
    return bytes(data[:20_000])


def lone_surrogates_pass() -> None:
    strict_json._SURROGATE_ESCAPE = re.compile(r"(?!)")


def cursors_are_not_looked_at() -> None:
    cursor_module._SHAPE = re.compile(r"([^.]*)\.([^.]*)\.(.*)", re.DOTALL)


def the_first_place_will_do() -> None:
    found = edit_blocks._places
    edit_blocks._places = lambda content, wanted: found(content, wanted)[:1]


def the_last_change_is_forgotten() -> None:
    found = lines.changes
    change.changes = lambda old, new: found(old, new)[:-1] or found(old, new)


MUTATIONS: dict[str, tuple[str, Callable[[], None]]] = {
    "lone_surrogates_pass": ("frames", lone_surrogates_pass),
    "cursors_are_not_looked_at": ("cursors", cursors_are_not_looked_at),
    "the_first_place_will_do": ("edits", the_first_place_will_do),
    "the_last_change_is_forgotten": ("diffs", the_last_change_is_forgotten),
}
"""A defence that is broken, the target that must notice, and how."""
