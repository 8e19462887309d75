"""One path of a plan: what is there, what lies beside it, and how the two change places without anybody's bytes lost.

Beside the path `F` lies the temporary `T`. An edit exchanges the two, a creation renames T to F, a deletion F to T, and
taking any of them back is the same again. Only then is compared what came out: comparing before would leave a moment
in which somebody saves. What came out and is not what was expected is somebody's, so it goes back at once. If what then
comes out is not exactly what was put there, somebody saved in between, and that is newer: it goes back, and so on, until
nothing came between. Whoever saved last keeps the path; what else was somebody's goes to the store of contents.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Literal

from reconvene.errors import ReconveneError
from reconvene.workspace.contents import Contents
from reconvene.workspace.edits.disk import READABLE, Disk, OvertakenError, Seen
from reconvene.workspace.edits.plan import FileOutcome, Late, Step
from reconvene.workspace.names import decode, encode, shown

State = Literal["done", "not_done", "conflict"]
_ROUNDS = 100
"""A program that saves faster than two renames for so many times in a row is not met; what it wrote is kept then."""


class Slot:
    """A step, its folder (held open by the caller; None: there is none), and the name beside it.

    Methods raise OSError and ReconveneError; what they did until then is seen again by `begin`.
    """

    def __init__(self, disk: Disk, contents: Contents, step: Step, folder: int | None, temporary: str) -> None:
        self.step = step
        self.folder = folder
        self.blocked: ReconveneError | None = None
        """Why the folder cannot be opened, when it is more than missing."""
        self.exact = False
        """The plan has another path that a file system without upper and lower case takes for this one."""
        self.waiting = False
        """Something of somebody's may still be written into what lies under the temporary name."""
        self.begun = False
        """The new content may be at the path: what is to be taken back if the others fail."""
        self.found = False
        """`begin` found something of an earlier attempt."""
        self._disk, self._contents = disk, contents
        self._name = encode(step.path.rpartition("/")[2])
        self._temp, self._part, self._hold = (encode(temporary + end) for end in ("", ".part", ".hold"))
        self._kept: list[str] = []
        self._left: str | None = None
        self._notes: list[str] = []

    # -- what is there

    def state(self) -> State:
        return self._judge(self._look(self._name))

    def outcome(self) -> FileOutcome:
        """What is at the path now. Somebody's content there is kept too, for a view of all three."""
        if self.blocked:
            return self.unreachable(self.blocked.message)
        seen = self._look(self._name)
        state = self._judge(seen)
        on_disk = seen.hash or "?" if seen else None
        note = " ".join(self._notes) or None
        if seen and seen.content is not None and state == "conflict":
            with suppress(ReconveneError):
                self._contents.put(seen.content)
        if state == "conflict" and note is None:
            note = self._why(seen)
        return self._outcome(state, on_disk, note)

    def applied(self) -> FileOutcome:
        return self._outcome("done", self.step.new_hash, " ".join(self._notes) or None)

    def unreachable(self, note: str) -> FileOutcome:
        return self._outcome("conflict", "?", note)

    # -- the way there

    def begin(self) -> State:
        """How far an earlier attempt came. What it had swapped out and not compared goes back; what it left is removed."""
        if self.blocked:
            raise self.blocked
        if self.folder is None:
            return self.state()
        self._remove(self._part)
        self._release()
        out, there = self._look(self._temp), self._look(self._name)
        if out is None:
            return self._judge(there)
        self.found = True
        step = self.step
        if not self._known(out) and (there is None or self._known(there)):
            # It lay at the path before what is there now, or was saved over it: whichever, it is somebody's.
            self._give_back(there, out)
            return self.state()
        if step.base_hash is not None and _is(out, step.base_hash) and self._judge(there) == "done":
            self.begun = True
            return "done"
        self._drop()
        return self._judge(there)

    def check(self) -> None:
        """
        Raises:
            ReconveneError: `permission_denied` for a file that is not meant to be written.
        """
        if self.folder is None or self.step.base_hash is None or self.step.new_mode is not None:
            return
        seen = self._look(self._name)
        if seen and not self._disk.writable(self.folder, self._name, seen):
            sentence = f"{shown(self.step.path)} is read-only. Make it writable (chmod u+w), then accept again."
            raise ReconveneError("permission_denied", sentence, path=shown(self.step.path))

    def prepare(self, *, back: bool = False) -> None:
        """Lay the content that is to be there beside the path, durable. `back`: the old one."""
        step, disk = self.step, self._disk
        wanted, mode = (step.base_hash, step.base_mode) if back else (step.new_hash, step.new_mode)
        if wanted is None or self.folder is None or self._mode_only:
            return
        content = self._contents.get(wanted)
        if content is None:
            sentence = (
                f"The content of {shown(step.path)} ({wanted[:12]}) is not kept any more, so it cannot be written."
            )
            raise ReconveneError("store_error", sentence, path=shown(step.path))
        seen = self._look(self._name)
        fd = disk.create(self.folder, self._part, 0o600 if seen or mode is not None else 0o666)
        try:
            disk.write(fd, content)
            if seen and seen.kind == "file":
                like = disk.open_file(self.folder, self._name)
                try:
                    if not disk.dress(fd, like):
                        self._say("It belongs to the user of this server now, who may not give it to its former owner.")
                finally:
                    disk.close(like)
                if seen.links > 1:
                    self._say("The file had other names (hard links); those keep the old content.")
            if mode is not None or seen:
                disk.chmod(fd, mode if mode is not None else seen.mode if seen else 0o644)
            disk.sync(fd)
        finally:
            disk.close(fd)
        # Under this name there are only whole contents, so what is found under it after a crash is never a torn one.
        disk.rename_new(self.folder, self._part, self._temp)

    def go(self) -> bool:
        """Put the new content at the path; False: something else was there, and is again."""
        if self._mode_only:
            return self._chmod(self.step.new_mode)
        self.begun = True
        return self._flip(self.step.base_hash)

    def back(self) -> None:
        """Put the old content back, unless somebody changed the new one."""
        if self._mode_only:
            self._chmod(self.step.base_mode)
            return
        if self.folder is None or self.state() != "done":
            return
        if self.step.base_hash is not None and self._look(self._temp) is None:
            self.prepare(back=True)
        self._flip(self.step.new_hash)

    def retire(self) -> None:
        """Remove what was swapped out, if nobody can write into it any more."""
        if self.folder is None:
            return
        self._release()
        self._remove(self._part)
        self._drop()

    def clear(self) -> None:
        """`retire`, and if the disk does not do it now, `settle` is to do it: what lies beside the path must not stay there."""
        try:
            self.retire()
        except OSError:
            self.waiting = True

    def settle(self, final: bool) -> tuple[list[Late], bool]:
        """What came late, and whether more may come."""
        if self.folder is None:
            return [], False
        self._release()
        self._remove(self._part)
        if (seen := self._look(self._temp)) is None:
            return [], False
        if seen.written and not final:
            return [], True
        late = []
        if not self._known(seen):
            kept = self._keep(seen, self._temp)
            late.append(Late(self.step.path, kept, None if kept else decode(self._temp)))
            if kept is None:
                return late, False
        self._remove(self._temp)
        return late, False

    # -- how

    @property
    def _mode_only(self) -> bool:
        return self.step.base_hash == self.step.new_hash

    def _judge(self, seen: Seen | None) -> State:
        step = self.step
        if self._mode_only:
            if not _is(seen, step.new_hash) or seen is None:
                return "conflict"
            return "done" if seen.mode == step.new_mode else "not_done" if seen.mode == step.base_mode else "conflict"
        if _is(seen, step.new_hash):
            return "done"
        return "not_done" if _is(seen, step.base_hash) and not (seen and seen.written) else "conflict"

    def _known(self, seen: Seen) -> bool:
        return seen.hash is not None and seen.hash in (self.step.base_hash, self.step.new_hash)

    def _flip(self, expected: str | None) -> bool:
        put = self._look(self._temp)
        try:
            self._swap(put is not None, expected is not None)
        except (FileExistsError, FileNotFoundError, OvertakenError):
            self._release()
            return False
        out = self._look(self._temp)
        if _is(out, expected) and not (out and out.written):
            if put and out and self.step.new_mode is None and put.mode != out.mode:
                self._follow(out.mode)
            return True
        self._give_back(put, out)
        return False

    def _give_back(self, put: Seen | None, out: Seen | None) -> None:
        """`put` is at the path, `out` came from there and is somebody's."""
        for _ in range(_ROUNDS):
            if out is None:
                break
            try:
                self._swap(True, put is not None)
            except (FileExistsError, FileNotFoundError, OvertakenError):
                break  # somebody saved or deleted it just now: that stands
            came = self._look(self._temp)
            if _same(came, put):
                break
            put, out = out, came
        self._release()
        self._drop()

    def _swap(self, into: bool, out: bool) -> None:
        assert self.folder is not None
        if into and out:
            self._disk.exchange(self.folder, self._temp, self._name, self._hold)
            if not self._disk.exchanges:
                self._say("This file system cannot exchange two files, so the file was missing for a moment.")
        elif into:
            self._disk.rename_new(self.folder, self._temp, self._name)
        elif out:
            self._disk.rename_new(self.folder, self._name, self._temp)

    def _release(self) -> None:
        """Where an exchange is made up of three renames and ended in between: the third file goes where it belongs."""
        if self.folder is None or self._look(self._hold) is None:
            return
        self.found = True
        for name in (self._temp, self._name):
            if self._look(name) is None:
                with suppress(FileExistsError):
                    self._disk.rename_new(self.folder, self._hold, name)
                    return
        self._drop(self._hold)

    def _drop(self, name: bytes | None = None) -> None:
        """Remove a temporary; somebody's content is kept first, and a file that is still written into stays."""
        assert self.folder is not None
        name = name or self._temp
        seen = self._look(name)
        if seen is None:
            return
        if seen.written or (seen.written is None and self.begun):
            self.waiting = True
            return
        if not self._known(seen):
            if (kept := self._keep(seen, name)) is None:
                return
            self._kept.append(kept)
        self._remove(name)

    def _keep(self, seen: Seen, name: bytes) -> str | None:
        if seen.content is not None:
            with suppress(ReconveneError):
                return self._contents.put(seen.content)
        # Too large, not readable, or no space: it stays where it is, under a name that says what it is.
        self._left = decode(name)
        return None

    def _chmod(self, mode: int | None) -> bool:
        if self.folder is None or mode is None:
            return False
        try:
            fd = self._disk.open_file(self.folder, self._name)
        except FileNotFoundError:
            return False
        try:
            self._disk.chmod(fd, mode)
            self._disk.sync(fd)
        finally:
            self._disk.close(fd)
        self.begun = True
        return True

    def _follow(self, mode: int) -> None:
        """Somebody changed the permission bits while the new content was written: they hold for it too."""
        assert self.folder is not None
        with suppress(OSError):
            fd = self._disk.open_file(self.folder, self._name)
            try:
                self._disk.chmod(fd, mode)
            finally:
                self._disk.close(fd)

    def _look(self, name: bytes) -> Seen | None:
        if self.folder is None or (self.exact and name == self._name and name not in self._disk.names(self.folder)):
            return None
        return self._disk.look(self.folder, name)

    def _remove(self, name: bytes) -> None:
        assert self.folder is not None
        with suppress(FileNotFoundError):
            self._disk.remove(self.folder, name)

    def _say(self, sentence: str) -> None:
        if sentence not in self._notes:
            self._notes.append(sentence)

    def _why(self, seen: Seen | None) -> str:
        name = shown(self.step.path)
        if seen is None:
            return f"{name} is not there any more."
        if seen.kind == "other":
            return f"{name} is a link, a folder or a device now; only regular files are written."
        if seen.hash is None:
            return f"{name} cannot be read, or has more than {READABLE:,} bytes, so it is not compared and not written."
        if self.step.base_hash is None:
            return f"{name} is there already, with another content."
        if seen.written and _is(seen, self.step.base_hash):
            return f"Another program has {name} open for writing."
        return f"{name} was changed by somebody else."

    def _outcome(self, state: State, on_disk: str | None, note: str | None) -> FileOutcome:
        step = self.step
        return FileOutcome(
            step.path, state, step.base_hash, step.new_hash, on_disk, tuple(self._kept), self._left, note
        )


def _is(seen: Seen | None, hash: str | None) -> bool:
    return seen is None if hash is None else seen is not None and seen.kind == "file" and seen.hash == hash


def _same(seen: Seen | None, put: Seen | None) -> bool:
    """Whether it is what was put there, untouched."""
    if seen is None or put is None:
        return seen is put
    return seen.at == put.at and seen.hash == put.hash and seen.size == put.size and not seen.written
