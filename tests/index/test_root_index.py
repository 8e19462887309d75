from __future__ import annotations

import asyncio
import gc
import os
import random
import signal
import subprocess
import sys
import threading
import time
import weakref
from dataclasses import replace
from pathlib import Path

import pytest

from codebase import FILES, CodeBase
from reconvene.config import Limits
from reconvene.errors import ReconveneError
from reconvene.index import Indexes, RootIndex
from reconvene.index.query import parse
from reconvene.index.ranking import rank
from reconvene.index.settled import SMALLEST, Settled
from reconvene.index.view import View
from reconvene.index.words import term
from reconvene.index.workers import Workers
from reconvene.workspace import Workspace


async def test_a_cold_root_is_built_once_and_served_again_without_work(code: CodeBase, workers: Workers) -> None:
    code.age()
    index = await code.index(workers, fresh=False)
    assert (index.files, index.builds, index.partial) == (0, 0, True)
    first = await index.refresh()
    assert first.changed == frozenset(FILES)
    assert (first.reused, first.partial, index.partial) == (False, False, False)
    assert (index.files, index.builds, index.parsed) == (len(FILES), 1, first.parsed)
    assert index.symbols > 10
    again = await index.refresh()
    assert (again.reused, again.parsed, again.changed, again.epoch) == (True, 0, frozenset(), first.epoch)
    await index.close()

    index = await code.index(workers, fresh=False)
    assert (index.files, index.epoch, index.partial) == (len(FILES), first.epoch, False)
    assert (await index.refresh()).reused
    assert (index.builds, index.parsed) == (0, 0)
    await index.close()


async def test_only_changed_content_is_analysed(code: CodeBase, workers: Workers) -> None:
    index = await code.index(workers)
    before = index.epoch
    code.write("shop/money.py", "class Coin:\n    pass\n")
    code.write("shop/new.py", "def brand_new():\n    pass\n")
    code.remove("web/app.js")
    changed = await index.refresh()
    assert changed.changed == {"shop/money.py", "shop/new.py", "web/app.js"}
    assert changed.parsed == 2
    assert index.changed_since(before) == changed.changed
    assert [d.name for d in index.definitions("shop/money.py")] == ["Coin"]
    assert index.fingerprint("web/app.js") is None
    assert index.fingerprint("shop/new.py") == index.workspace.fingerprint("shop/new.py")
    await index.close()


async def test_touching_moving_and_switching_back_cost_no_analysis(code: CodeBase, workers: Workers) -> None:
    index = await code.index(workers)
    parsed, epoch = index.parsed, index.epoch
    os.utime(code.root / "shop/cart.py")
    assert (await index.refresh()).reused
    assert index.epoch == epoch
    (code.root / "shop/cart.py").rename(code.root / "shop/basket.py")
    assert (await index.refresh()).changed == {"shop/cart.py", "shop/basket.py"}
    old = (code.root / "shop/money.py").read_bytes()
    code.write("shop/money.py", "x = 1\n")
    await index.refresh()
    code.write("shop/money.py", old)
    assert (await index.refresh()).changed == {"shop/money.py"}
    assert index.parsed == parsed + 1
    await index.close()


async def test_a_change_within_one_time_stamp_is_noticed(code: CodeBase, workers: Workers) -> None:
    index = await code.index(workers)
    file = code.root / "shop/money.py"
    st = file.stat()
    code.write("shop/money.py", file.read_text().replace("cents", "pence"))
    assert file.stat().st_size == st.st_size
    os.utime(file, ns=(st.st_atime_ns, st.st_mtime_ns))
    assert (await index.refresh()).changed == {"shop/money.py"}
    await index.close()


async def test_control_without_the_rule_that_change_is_missed(
    code: CodeBase, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconvene.index.root.RACY_NS", -(10**18))
    index = await code.index(workers)
    file = code.root / "shop/money.py"
    st = file.stat()
    code.write("shop/money.py", file.read_text().replace("cents", "pence"))
    os.utime(file, ns=(st.st_atime_ns, st.st_mtime_ns))
    assert (await index.refresh()).changed == frozenset()
    await index.close()


async def test_a_known_change_is_taken_in_alone(code: CodeBase, workers: Workers) -> None:
    index = await code.index(workers)
    code.write("shop/money.py", "class Coin:\n    pass\n")
    code.write("shop/cart.py", "class Basket:\n    pass\n")
    assert (await index.refresh(["shop/money.py"])).changed == {"shop/money.py"}
    assert (await index.refresh(["shop/unknown.py"])).changed == {"shop/cart.py"}, "an unknown path needs a listing"
    code.remove("shop/cart.py")
    assert (await index.refresh(["shop/cart.py"])).changed == {"shop/cart.py"}
    await index.close()


async def test_calls_at_the_same_time_share_a_look_that_begins_after_them(code: CodeBase, workers: Workers) -> None:
    index = await code.index(workers)
    looks = 0
    real = index.workspace.listing

    def counted(*_: object) -> object:
        nonlocal looks
        looks += 1
        return real()

    index.workspace.listing = counted  # type: ignore[assignment,method-assign]
    first = asyncio.create_task(index.refresh())
    while looks == 0:
        await asyncio.sleep(0)
    code.write("shop/late.py", "late = 1\n")
    later = await asyncio.gather(*(index.refresh() for _ in range(20)))
    await first
    assert looks == 2
    assert "shop/late.py" in later[0].changed | first.result().changed
    assert index.fingerprint("shop/late.py") is not None
    await index.close()


async def test_the_epoch_of_another_index_is_not_known(code: CodeBase, tmp_path: Path, workers: Workers) -> None:
    index = await code.index(workers)
    other = await CodeBase(tmp_path / "other").index(workers)
    assert index.changed_since(other.epoch) is None
    assert index.concerned_since(other.epoch, [1]) is None
    assert index.changed_since(index.epoch) == frozenset()
    await index.close()
    await other.close()


async def test_which_changes_concern_a_word(code: CodeBase, workers: Workers) -> None:
    index = await code.index(workers)
    before = index.epoch
    code.write("shop/money.py", "class Coin:\n    pass\n")
    code.write("notes/zebra.txt", "striped\n")
    await index.refresh()
    assert index.concerned_since(before, [term("cent")]) == {"shop/money.py"}, "it had the word"
    assert index.concerned_since(before, [term("coin")]) == {"shop/money.py"}, "it has the word"
    assert index.concerned_since(before, [term("zebra")]) == {"notes/zebra.txt"}, "its name has the word"
    assert index.concerned_since(before, [term("session")]) == frozenset()
    await index.close()


async def test_nothing_is_written_into_the_code_base(code: CodeBase, workers: Workers) -> None:
    before = sorted(str(p) for p in code.root.rglob("*"))
    index = await code.index(workers)
    await index.close()
    assert sorted(str(p) for p in code.root.rglob("*")) == before
    assert list((code.data / "indexes").glob("*.db"))


async def test_what_is_not_taken_by_its_words(code: CodeBase, workers: Workers) -> None:
    code.write("dist/app.js", "var zebra=1;" * 500)
    code.write("logo.png", b"\x89PNG zebra")
    code.write("core", b"zebra\0" * 10)
    code.write("big.py", "zebra = 1\n" * 200)
    code.write("data.json", '{"zebra": 1}')
    index = await code.index(workers, indexed_file=1000)
    assert (await index.refresh()).reused
    zebra = rank(index.view, parse("zebra", Limits()))
    scored = {index.view.path(int(n)) for n in zebra.score.nonzero()[0]}
    assert scored == {"data.json"}
    for path in ("dist/app.js", "logo.png", "core", "big.py"):
        assert index.view.find(path) is not None, path
    await index.close()


@pytest.mark.parametrize("name", [b"b\xffd.py"], ids=["bad82-not-utf8"])
async def test_a_name_that_is_not_utf8(code: CodeBase, workers: Workers, name: bytes) -> None:
    with open(os.fsencode(code.root) + b"/" + name, "wb") as file:
        file.write(b"def odd_name():\n    pass\n")
    index = await code.index(workers)
    assert index.fingerprint("b\udcffd.py") is not None
    assert index.fingerprint("b\\xffd.py") == index.fingerprint("b\udcffd.py"), "by its display form too"
    await index.close()
    index = await code.index(workers, fresh=False)
    assert index.fingerprint("b\udcffd.py") is not None
    await index.close()


@pytest.mark.parametrize("path", [".env", "id_rsa"], ids=["bad90-env", "bad90-key"])
async def test_secrets_are_never_indexed(code: CodeBase, workers: Workers, path: str) -> None:
    code.write(path, "TOKEN=zebra\n")
    index = await code.index(workers)
    assert index.view.find(path) is None
    assert not rank(index.view, parse("zebra", Limits())).score.any()
    await index.close()


@pytest.mark.parametrize("path", ["shop/cart.py"], ids=["bad89-denied"])
async def test_a_file_that_cannot_be_read_is_counted_and_tried_again(
    code: CodeBase, workers: Workers, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    real = Workspace.read_bytes

    def refuse(self: Workspace, asked: str, *, max_bytes: int) -> bytes:
        if asked == path:
            raise ReconveneError("permission_denied", "No.")
        return real(self, asked, max_bytes=max_bytes)

    with monkeypatch.context() as patched:
        patched.setattr(Workspace, "read_bytes", refuse)
        index = await code.index(workers)
        assert (index.skipped, index.left_out()) == (1, {path: "denied"})
        assert (await index.refresh()).reused
    assert (await index.refresh()).changed == {path}
    assert index.skipped == 0
    await index.close()


@pytest.mark.parametrize("text", ["def hang(): pass\n"], ids=["bad95-poison"])
async def test_a_poisoned_file_is_left_out_told_of_and_not_tried_again(code: CodeBase, text: str) -> None:
    from test_workers import stand_in

    code.write("bad.py", "hang")
    odd = stand_in(seconds=0.3)
    index = await code.index(odd)
    assert index.left_out() == {"bad.py": "poison: time"}
    assert index.skipped == 1
    assert index.files == len(FILES) + 1
    parsed = index.parsed
    code.write("copy.py", "hang")
    await index.refresh()
    assert (index.parsed, index.skipped) == (parsed, 2)
    code.write("bad.py", text)
    await index.refresh()
    assert index.skipped == 1
    await index.close()
    odd.close()


async def test_damage_found_later_is_answered_by_a_new_index(code: CodeBase, workers: Workers) -> None:
    index = await code.index(workers)
    (file,) = (code.data / "indexes").glob("*.db")
    await index.close()
    data = bytearray(file.read_bytes())
    data[4096:] = os.urandom(len(data) - 4096)
    file.write_bytes(data)
    index = await code.index(workers)
    assert index.files == len(FILES)
    assert (await index.refresh()).reused
    await index.close()


async def test_a_file_that_goes_while_it_is_looked_at_is_just_gone(
    code: CodeBase, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = await code.index(workers)
    code.write("shop/money.py", "x = 1\n")
    code.write("shop/new.py", "y = 1\n")
    listing = index.workspace.listing()
    code.remove("shop/money.py")
    code.remove("shop/new.py")
    with monkeypatch.context() as patched:
        patched.setattr(index.workspace, "listing", lambda *_: listing)
        assert (await index.refresh()).changed == {"shop/money.py"}
    assert (index.skipped, index.files) == (0, len(FILES) - 1)
    assert (await index.refresh()).reused
    await index.close()


@pytest.mark.parametrize("most", [3], ids=["bad94-too-many-files"])
async def test_a_code_base_with_too_many_files_is_cut_and_says_so(code: CodeBase, workers: Workers, most: int) -> None:
    index = await code.index(workers, files=most)
    assert (index.files, index.truncated, (await index.refresh()).partial) == (most, True, True)
    assert index.changed_since(index.epoch) == frozenset()
    await index.close()


async def test_a_root_that_is_gone_says_so(code: CodeBase, workers: Workers) -> None:
    index = await code.index(workers)
    code.root.rename(code.root.with_name("moved"))
    with pytest.raises(ReconveneError) as e:
        await index.refresh()
    assert e.value.code == "workspace_gone"
    assert index.files == len(FILES)
    await index.close()


async def test_closing_ends_a_build_at_once(code: CodeBase) -> None:
    from test_workers import stand_in

    for i in range(50):
        code.write(f"slow/{i}.py", "hang")
    workers = stand_in(seconds=30)
    index = await code.index(workers, fresh=False)
    building = asyncio.create_task(index.refresh())
    while not workers.pids():
        assert not building.done()
        await asyncio.sleep(0.01)
    began = time.monotonic()
    workers.close()
    await index.close()
    with pytest.raises(ReconveneError) as e:
        await building
    assert e.value.code == "draining"
    assert time.monotonic() - began < 2
    with pytest.raises(ReconveneError):
        await index.refresh()


BUILD = """
import asyncio, sys
from pathlib import Path
import reconvene.index.reader as reader
from reconvene.config import Limits
from reconvene.index import RootIndex
from reconvene.workspace import Workspace
reader.BATCH_FILES = 5
async def main():
    data = Path(sys.argv[2])
    workspace = Workspace.open(sys.argv[1], data_dir=data, limits=Limits())
    index = await RootIndex.open(workspace, data, Limits())
    await index.refresh()
    print("done", flush=True)
asyncio.run(main())
"""


async def test_a_build_that_was_killed_goes_on_where_it_was(tmp_path: Path, workers: Workers) -> None:
    many = {f"m{i}.py": f"def function_{i}():\n    return {i}\n" for i in range(200)}
    code = CodeBase(tmp_path, many)
    code.age()
    child = subprocess.Popen([sys.executable, "-c", BUILD, str(code.root), str(code.data)], stdout=subprocess.PIPE)
    folder = code.data / "indexes"
    while child.poll() is None and not (
        list(folder.glob("*.db-wal")) and max(f.stat().st_size for f in folder.iterdir()) > 60_000
    ):
        await asyncio.sleep(0.005)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    index = await code.index(workers, fresh=False)
    kept = index.files
    await index.refresh()
    assert index.files == 200
    assert kept > 0
    assert index.parsed == 200 - kept
    assert index.builds == 0
    assert sorted(index.view.paths()) == sorted(many)
    await index.close()


async def test_one_index_for_all_sessions_of_a_root(code: CodeBase) -> None:
    indexes = Indexes(code.data, Limits())
    workspace = code.workspace()
    found = await asyncio.gather(*(indexes.get(workspace) for _ in range(50)))
    assert len({id(index) for index in found}) == 1
    assert indexes.open_count == 1
    await found[0].refresh()
    assert (await indexes.get(code.workspace())).builds == 1
    await indexes.close()
    assert indexes.open_count == 0


async def test_a_root_whose_index_cannot_be_opened_is_tried_again(code: CodeBase) -> None:
    indexes = Indexes(code.data, Limits())
    (code.data / "indexes").write_text("in the way")
    with pytest.raises(ReconveneError) as e:
        await indexes.get(code.workspace())
    assert e.value.code == "search_failed"
    (code.data / "indexes").unlink()
    assert (await indexes.get(code.workspace())).files == 0
    await indexes.close()


async def test_edits_one_by_one_give_what_a_new_index_gives(tmp_path: Path, workers: Workers) -> None:
    seed = 7
    print("seed", seed)
    rng = random.Random(seed)
    code = CodeBase(tmp_path)
    index = await code.index(workers)
    words = [
        "cart",
        "session",
        "money",
        "item",
        "price",
        "expire",
        "owner",
        "total",
        "load",
        "sweep",
        "zebra",
        "quantity",
    ]
    paths = [*FILES, "a/zebra.py", "a/b/cart_tools.py", "c.go"]
    queries = [
        parse(q, Limits()) for q in ("session cart", "expire_old_carts", "Money", "total price of items", "zebra")
    ]
    for step in range(40):
        path = rng.choice(paths)
        if rng.random() < 0.25 and (code.root / path).exists():
            code.remove(path)
        else:
            names = [
                f"def {rng.choice(words)}_{rng.choice(words)}(x):\n    return {' '.join(rng.choices(words, k=3))!r}\n"
                for _ in range(rng.randrange(1, 30))
            ]
            code.write(path, "\n".join(names))
        await index.refresh()
        if step % 8 == 7:
            again = await RootIndex.open(code.workspace(), tmp_path / f"fresh{step}", Limits(), workers)
            await again.refresh()
            for query in queries:
                assert scores(index, query) == scores(again, query)
            assert index.view.statistics == again.view.statistics
            await again.close()
    assert len(index.view.segments) < 6
    await index.close()


def scores(index: RootIndex, query: object) -> dict[str, float]:
    signals = rank(index.view, query)  # type: ignore[arg-type]
    return {index.view.path(int(n)): float(signals.score[n]) for n in signals.score.nonzero()[0]}


async def test_the_event_loop_is_not_kept_while_building(tmp_path: Path, workers: Workers) -> None:
    code = CodeBase(
        tmp_path, {f"p{i % 20}/m{i}.py": FILES["shop/cart.py"].replace("cart", f"cart{i}") for i in range(250)}
    )
    index = await code.index(workers, fresh=False)
    longest = 0.0
    gc.collect()
    gc.freeze()  # what the test process has gathered so far is not the index's to walk through
    building = asyncio.create_task(index.refresh())
    last = time.thread_time()
    while not building.done():
        await asyncio.sleep(0)
        now = (
            time.thread_time()
        )  # of the loop's thread alone: what the others do, on a busy machine too, does not count
        longest, last = max(longest, now - last), now
    gc.unfreeze()
    assert index.files == 250
    assert longest < 0.02
    await index.close()


@pytest.mark.parametrize("kept", [False, True], ids=["", "control-held-in-the-loop"])
async def test_the_memory_of_a_replaced_view_is_not_given_back_in_the_event_loop(
    tmp_path: Path, workers: Workers, monkeypatch: pytest.MonkeyPatch, kept: bool
) -> None:
    code = CodeBase(tmp_path, {f"m{i}.py": f"def part_{i}():\n    return {i}\n" for i in range(SMALLEST + 1)})
    index = await code.index(workers, fresh=False)
    loop = asyncio.get_running_loop()
    let_go: list[int] = []
    held: list[View] = []
    write = Settled.write

    def writing(self: Settled, view: View, stop: threading.Event) -> str:
        weakref.finalize(view, lambda: let_go.append(threading.get_ident()))
        held.extend([view] * kept)
        name = write(self, view, stop)
        index.view = replace(index.view)  # as by an edit meanwhile
        # The loop goes on once the thread has let go of what it was given, so that whoever else holds it is the last.
        loop.call_soon_threadsafe(lambda: index._settle_thread.submit(int).result(60))
        return name

    monkeypatch.setattr(Settled, "write", writing)
    await index.refresh()
    held.clear()
    assert len(let_go) == 1
    assert (let_go[0] == threading.get_ident()) == kept
    await index.close()
