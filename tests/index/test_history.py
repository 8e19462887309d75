"""What commit messages say of files: of which, how much, and that it is the same however it came to be known."""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path

import pytest

from codebase import FILES, Repository
from reconvene.config import Limits
from reconvene.index import RootIndex
from reconvene.index import root as index_root
from reconvene.index.arrays import EMPTY
from reconvene.index.history import MOST_FILES, NO_HISTORY, History, Note, build, mark_of
from reconvene.index.query import parse
from reconvene.index.ranking import rank
from reconvene.index.segment import Document
from reconvene.index.view import View
from reconvene.index.words import terms_of
from reconvene.index.workers import Workers
from reconvene.workspace import git_files
from reconvene.workspace.git_history import Commit, GitHistory

DAY = 86_400


def commit(number: int, message: str, *paths: str, renames: tuple[tuple[str, str], ...] = (), first: bool = False) -> Commit:  # fmt: skip
    return Commit(number.to_bytes(20, "big"), number * DAY, message, paths, renames, first)


def made(*commits: Commit) -> History:
    newest_first = sorted(commits, key=lambda c: -c.at)
    return build("x", [Note.of(c) for c in newest_first])


def votes(history: History, words: str) -> dict[str, float]:
    found = history.votes([(term, 1.0) for term in sorted(terms_of(words))])
    return {history.paths[int(i)]: round(float(found[i]), 6) for i in found.nonzero()[0]}


def test_a_message_speaks_for_the_files_its_commit_touched_the_fewer_the_more() -> None:
    history = made(
        commit(1, "Carts expire", "shop/cart.py"),
        commit(2, "Carts expire", "shop/cart.py", "shop/a.py", "shop/b.py"),
        commit(3, "Sessions are swept", "shop/session.py"),
    )
    said = votes(history, "cart expires")
    assert set(said) == {"shop/cart.py", "shop/a.py", "shop/b.py"}
    assert said["shop/a.py"] == said["shop/b.py"] == pytest.approx(said["shop/cart.py"] / 4, rel=1e-4)
    assert votes(history, "zebra") == {} == votes(NO_HISTORY, "cart")


def test_older_commits_speak_for_where_the_file_is_now() -> None:
    history = made(
        commit(1, "Carts expire", "cart.py"),
        commit(2, "Move", "lib/cart.py", renames=(("cart.py", "lib/cart.py"),)),
        commit(3, "Move again", "src/cart.py", renames=(("lib/cart.py", "src/cart.py"),)),
        commit(4, "A zebra of the old name", "cart.py"),
    )
    assert set(votes(history, "expire")) == {"src/cart.py"}
    assert set(votes(history, "zebra")) == {"cart.py"}


def test_what_says_nothing_of_a_file() -> None:
    many = tuple(f"f{i}.py" for i in range(MOST_FILES + 1))
    history = made(
        commit(1, "Begin with carts", "shop/cart.py", first=True),
        commit(2, "Sweep over carts", *many),
        commit(3, "Money\n\nSigned-off-by: Cart Owner <cart@example.org>\nCloses: cart #12 https://example.org/cart", "m.py"),
    )  # fmt: skip
    assert votes(history, "cart") == {}
    assert set(votes(history, "money")) == {"m.py"}


def test_what_changed_together() -> None:
    history = made(
        commit(1, "a", "cart.py", "stock.py"),
        commit(2, "b", "cart.py", "stock.py", "mail.py"),
        commit(3, "c", "cart.py"),
        commit(4, "d", "cart.py", "a.py", "mail.py"),
        commit(5, "e", "other.py", "mail.py"),
    )
    assert history.cochange("cart.py") == [
        ("stock.py", pytest.approx((1 + 1 / 2) / 4)),
        ("mail.py", pytest.approx((1 / 2 + 1 / 2) / 4)),
        ("a.py", pytest.approx(1 / 2 / 4)),
    ]
    assert history.cochange("none.py") == [] == NO_HISTORY.cochange("cart.py")
    kept = History.unpack("x", history.pack())
    assert kept.cochange("mail.py") == history.cochange("mail.py"), "also when it was stored"


def test_what_changed_together_is_told_of_the_files_there_are() -> None:
    history = made(commit(1, "a", "cart.py", "gone.py", "stock.py"))
    documents = [Document(path, b"x" * 20, "python", "indexed", 1, 0, EMPTY) for path in ("cart.py", "stock.py")]
    view = View(history=history).replace((), documents, epoch=1, partial=False)
    assert [path for path, _ in view.cochange("cart.py")] == ["stock.py"]


def test_what_was_worked_on_lately() -> None:
    history = made(commit(1, "a", "old.py"), commit(500, "b", "new.py"), commit(501, "c", "new.py", "other.py"))
    recent = dict(zip(history.paths, history.recent.tolist(), strict=True))
    assert recent["new.py"] == 1.0 > recent["other.py"] > recent["old.py"] > 0


def test_notes_and_histories_are_the_same_after_their_way_to_the_disk() -> None:
    commits = [
        commit(1, "Carts expire", "a\udcff.py", "b c.py", renames=(("old", "a\udcff.py"), ("x", "y"))),
        commit(2, "", "c.py"),
        commit(3, "nothing touched"),
    ]
    for one in commits:
        assert Note.unpack(Note.of(one).pack()) == Note.of(one)
    history = made(*commits)
    again = History.unpack("x", history.pack())
    assert again.paths == history.paths
    assert votes(again, "cart") == votes(history, "cart") != {}
    assert again.pack() == history.pack()
    assert History.unpack("", NO_HISTORY.pack()).paths == ()


def test_a_mark_names_the_commits_and_their_order() -> None:
    assert (
        len({mark_of([]), mark_of([b"a" * 20]), mark_of([b"a" * 20, b"b" * 20]), mark_of([b"b" * 20, b"a" * 20])}) == 4
    )


# -- with the index


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path)


def scores(index: RootIndex, text: str) -> dict[str, float]:
    signals = rank(index.view, parse(text, Limits()))
    return {index.view.path(int(n)): float(signals.score[n]) for n in signals.score.nonzero()[0]}


async def test_what_people_wrote_of_a_change_finds_its_file(repository: Repository, workers: Workers) -> None:
    index = await repository.index(workers)
    await index.take_in_history()
    before = scores(index, "visitor timeout item")
    repository.write("shop/session_store.py", FILES["shop/session_store.py"] + "\n\nLONG = 3600\n")
    repository.commit("A timeout for every visitor")
    await index.refresh()
    assert await index.take_in_history()
    after = scores(index, "visitor timeout item")
    assert after["shop/session_store.py"] > before["shop/session_store.py"]
    assert set(after) == set(before), "a file without any of the words is not found by its history alone"
    assert not await index.take_in_history(), "nothing new"
    await index.close()


async def test_a_refresh_takes_in_the_history_behind(repository: Repository, workers: Workers) -> None:
    repository.write("shop/money.py", "x = 1\n")
    repository.commit("Rounding")
    index = await repository.index(workers)
    assert index._history_task is not None and await index._history_task
    assert index.view.history.mark
    await index.close()


async def test_after_a_restart_it_is_there_and_only_new_commits_are_asked_for(
    repository: Repository, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    plain = GitHistory.commits
    monkeypatch.setattr(GitHistory, "commits", lambda self, ids: (asked.append(len(ids)), plain(self, ids))[1])
    for i in range(5):
        repository.write("shop/money.py", f"x = {i}\n")
        repository.commit(f"Rounding {i}")
    index = await repository.index(workers)
    await index.take_in_history()
    mark = index.view.mark
    await index.close()
    index = await repository.index(workers, fresh=False)
    assert index.view.mark == mark
    await index.take_in_history()
    repository.commit("One more")
    assert await index.take_in_history()
    assert asked == [6, 2], "the first commit of all is asked for again: of a shallow clone more may be known"
    await index.close()


async def test_history_by_steps_is_what_a_new_index_reads(
    repository: Repository, tmp_path: Path, workers: Workers
) -> None:
    seed = 11
    print("seed", seed)
    rng = random.Random(seed)
    index = await repository.index(workers)
    words = ["cart", "session", "money", "price", "sweep", "zebra", "item", "owner"]
    for step in range(24):
        paths = sorted(p.relative_to(repository.root).as_posix() for p in repository.root.rglob("*.py"))
        match rng.randrange(8):
            case 0:
                target = repository.root / f"moved/{step}.py"
                target.parent.mkdir(exist_ok=True)
                (repository.root / rng.choice(paths)).rename(target)
            case 1 if step > 6:
                repository.git("reset", "-q", "--hard", f"HEAD~{rng.randrange(1, 3)}")
            case 2 if step > 6:
                repository.git("checkout", "-q", "-b", f"b{step}", f"HEAD~{rng.randrange(1, 4)}")
            case _:
                for path in rng.sample(paths, 2):
                    text = " ".join(rng.choices(words, k=5))
                    repository.write(path, f"{path!r} {step}\n{text}\n" * 3)
        repository.commit(" ".join(rng.choices(words, k=3)))
        await index.refresh()
        await index.take_in_history()
        if step % 6 == 5:
            again = await RootIndex.open(repository.workspace(), tmp_path / f"fresh{step}", Limits(), workers)
            await again.refresh()
            await again.take_in_history()
            assert again.view.mark == index.view.mark
            assert again.view.history.pack() == index.view.history.pack()
            for text in ("cart", "session money", "zebra sweep owner"):
                assert scores(index, text) == scores(again, text)
            await again.close()
    assert len(index.view.history.paths) > 3
    await index.close()


async def test_without_a_repository_or_with_a_broken_one_there_is_none(
    repository: Repository, tmp_path: Path, workers: Workers
) -> None:
    index = await repository.index(workers)
    repository.write("a.py", "1")
    repository.commit("x")
    await index.refresh()
    await index.take_in_history()
    assert index.view.history.paths
    (repository.root / ".git/HEAD").write_text("broken")
    await index.refresh()
    assert await index.take_in_history()
    assert index.view.history is NO_HISTORY
    assert not await index.take_in_history()
    await index.close()


async def test_nobody_waits_for_a_git_that_hangs_and_closing_ends_it(
    repository: Repository, workers: Workers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = await repository.index(workers)
    await index.take_in_history()
    fake = tmp_path / "git"
    fake.write_text(f"#!/bin/sh\necho x > '{tmp_path}/started'\nexec sleep 60\n")
    fake.chmod(0o755)
    monkeypatch.setattr(git_files, "_program", lambda: str(fake))
    looking = asyncio.create_task(index.take_in_history())
    while not (tmp_path / "started").exists():
        await asyncio.sleep(0.01)
    assert scores(index, "cart")
    began = time.monotonic()
    await index.close()
    assert time.monotonic() - began < 2
    assert await looking is False


async def test_looks_are_not_repeated_for_every_search(
    repository: Repository, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []
    plain = GitHistory.head
    monkeypatch.setattr(GitHistory, "head", lambda self: (looks.append(1), plain(self))[1])
    index = await repository.index(workers)
    for _ in range(5):
        await index.refresh()
    await index.take_in_history()
    assert len(looks) == 2, "one behind the first refresh, and the one asked for"
    monkeypatch.setattr(index_root, "HISTORY_SECONDS", 0.0)
    await index.refresh()
    assert index._history_task is not None
    await index._history_task
    assert len(looks) == 3
    await index.close()
