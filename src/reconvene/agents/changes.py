"""One change of the code base, from the task to what was written: the coder proposes, the reviewer looks, the person decides.

Every step is recorded before the next one uses it: the coder's answers, the proposal with its contents, the review, the decision, what
is about to be written and what was. So a crash at any point goes on where it was, and asks nobody anything twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import Field, JsonValue
from pydantic_ai import RunContext
from pydantic_ai.messages import ModelMessage
from pydantic_ai.models import Model

from reconvene.agents.coder import approved, coder, reviewer
from reconvene.agents.durable import AgentDeps, Decision, ToolOutcome
from reconvene.agents.proposal import Proposed, diff_of, groups, propose, proposed, unified
from reconvene.agents.redact import redact
from reconvene.agents.scrub import scrub
from reconvene.agents.secret_leave import Rows, asked, named
from reconvene.errors import ReconveneError
from reconvene.protocol.events import Message
from reconvene.repomap import repo_map
from reconvene.workspace import display_path
from reconvene.workspace.contents import Contents

REPAIRS = 3
"""So often in a row an answer that cannot be used goes back to the coder."""
ROUNDS = 20
"""Answers of the coder for one task, in all."""
MOST_SECRETS = 20
"""Files that look like secrets, in one answer."""
GIVEN_CHARS = 60_000
"""Of files that the coder is given as they are; of the others it reads what it needs."""
MAP_TOKENS = 1024


async def update_code(
    ctx: RunContext[AgentDeps],
    task: Annotated[str, Field(min_length=1, max_length=20_000)],
    files: Annotated[list[Annotated[str, Field(max_length=4000)]], Field(max_length=50)],
) -> ToolOutcome:
    """Change the code base: a coder writes the edits, the person sees them as a diff and accepts or rejects each part.

    Everything that belongs together goes into one call: several files, new ones, deletions, renames.

    Args:
        task: What is to be done and why, with all you found out: the coder knows nothing of the conversation.
        files: Paths it will need, best first: those to change and those to look at.
    """
    deps = ctx.deps
    if deps.contents is None:
        raise ReconveneError("tool_failed", "Nothing can be changed here.")
    return await Change(ctx, deps.contents, task, files).run()


@dataclass
class _Result:
    """What became of one proposal. `again`: what the coder is told; None: it is done."""

    again: str | None = None
    status: str = ""


@dataclass
class Change:
    """One call of `update_code`. `run` can be called again after a crash and goes the same way up to where it was."""

    ctx: RunContext[AgentDeps]
    contents: Contents
    task: str
    files: Sequence[str]
    item: str = ""
    written: dict[str, str] = field(default_factory=dict)
    """By path: what is on disk of it, in words."""
    rejected: list[str] = field(default_factory=list)
    conflicts: list[str] = field(default_factory=list)
    allowed: set[str] = field(default_factory=set)
    """Files that look like secrets and that the person lets this change read."""
    private: Rows = ()

    def __post_init__(self) -> None:
        self.deps = self.ctx.deps
        assert isinstance(self.ctx.model, Model)
        self.model = self.ctx.model
        self.item = self.deps.durable.item(self.ctx.tool_call_id or "")

    async def run(self) -> ToolOutcome:
        durable, history = self.deps.durable, list[ModelMessage]()
        if self.deps.notes is not None:
            self.deps.notes.touch(self.files)
        repairs = reviews = 0
        doubted = False
        told: str | None = None
        for number, path in enumerate(dict.fromkeys(self.files), 1):
            await self._leave(path, f"{self.item}.secret-{number}")
        for n in range(1, ROUNDS + 1):
            answer = await durable.sub_run(
                self.ctx, f"{self.item}.c{n}", coder(self.model), self._prompt(told), history=history, quiet=True
            )
            history += answer.messages
            proposal = await durable.once(f"{self.item}.p{n}", self._proposing(answer.text, not doubted))
            assert isinstance(proposal, dict)
            tries = 0
            while (secret := proposal.get("secret")) is not None and tries < MOST_SECRETS:
                tries += 1
                if not await self._leave(str(secret), f"{self.item}.secret-{n}.{tries}"):
                    proposal = {"unusable": f"The person does not want {secret} to be read or changed. Leave it out."}
                    break
                again = await durable.once(f"{self.item}.p{n}.{tries}", self._proposing(answer.text, not doubted))
                assert isinstance(again, dict)
                proposal = again
            if "unusable" in proposal:
                repairs += 1
                doubted = doubted or "doubt" in proposal
                if repairs > REPAIRS:
                    return self._gave_up(str(proposal["unusable"]))
                told = f"Nothing was proposed, because your answer cannot be used:\n\n{proposal['unusable']}\n\nWrite all edits again."
                continue
            repairs = 0
            files = await asyncio.to_thread(proposed, proposal["files"], self.contents)  # type: ignore[arg-type]
            if prose := str(proposal["prose"]):
                await durable.show(f"{self.item}.s{n}", [Message(text=prose)], parent=self.item)
            if self.deps.review and reviews < self.deps.max_iterations:
                reviews += 1
                review = await durable.sub_run(
                    self.ctx, f"{self.item}.v{n}", reviewer(self.model), self._to_review(files)
                )
                if not approved(review.text):
                    told = f"The reviewer sent the change back:\n\n{review.text}\n\nWrite all edits again, mended."
                    continue
            result = await self._decided(n, files)
            if result.again is None:
                return self._outcome(result)
            told, reviews = result.again, 0
        return self._gave_up(f"there was no agreement in {ROUNDS} rounds")

    async def _leave(self, path: str, key: str) -> bool:
        """Whether a file may be read and changed: one that looks like a secret only when the person says so."""
        try:
            await asyncio.to_thread(self.deps.workspace.read_bytes, path, max_bytes=self.deps.limits.diff)
        except ReconveneError as e:
            if e.code != "secret_file" or e.details.get("never"):
                return e.code != "secret_file"
            rows = await asked(self.deps, key, e, change=True)
            if rows is None:
                return False
            self.private += rows
            self.allowed.add(str(e.details["path"]))
        return True

    # -- what the agents are told

    def _prompt(self, told: str | None) -> Any:
        async def first() -> str:
            overview = await repo_map(
                self.deps.index,
                tokens=MAP_TOKENS,
                query=_query(self.task),
                focus=_focus(self.files),
                seen=self.deps.seen,
            )
            shown = redact(scrub(overview.text)).replace("</repo-map", "</ repo-map")
            parts = [f"The task:\n{self.task}", f"Where it may be (a map):\n<repo-map>\n{shown}\n</repo-map>"]
            parts += await asyncio.to_thread(self._given, self.files)
            return "\n\n".join(parts)

        async def further() -> str:
            assert told is not None
            return told

        return first if told is None else further

    def _given(self, files: Sequence[str]) -> list[str]:
        """Files as they are now, as far as there is room. Blocking."""
        parts: list[str] = []
        room = GIVEN_CHARS
        for path in dict.fromkeys(files):
            try:
                text = redact(
                    scrub(
                        self.deps.workspace.read_bytes(
                            path, max_bytes=GIVEN_CHARS, secret=named(path) in self.allowed | self.deps.secrets
                        ).decode("utf-8", "replace")
                    )
                )
            except ReconveneError as e:
                parts.append(f"{scrub(path)}: {e.message}")
                continue
            room -= len(text)
            if room < 0:
                parts.append(f"{display_path(path)} is long; read what you need of it with read_file.")
            else:
                parts.append(f'<file path="{display_path(path)}">\n{text}\n</file>')
        return parts

    def _to_review(self, files: Sequence[Proposed]) -> Any:
        async def prompt() -> str:
            return f"The task:\n{self.task}\n\nThe proposed change:\n{unified(files)}"

        return prompt

    def _proposing(self, answer: str, doubting: bool) -> Any:
        """A grammar's doubts go back to the coder once; what it then answers is for the person to judge."""
        doubts = self.deps.index.syntax_error if doubting else lambda _path, _content: None

        async def make() -> JsonValue:
            return await asyncio.to_thread(
                propose,
                answer,
                self.deps.workspace,
                self.contents,
                self.deps.limits,
                doubts,
                self.allowed | self.deps.secrets,
            )

        return make

    # -- what the person decides, and what becomes of it

    async def _decided(self, n: int, files: Sequence[Proposed]) -> _Result:
        for number, group in enumerate(groups(files), 1):
            diff = diff_of(f"{self.item}.d{n}" + (f"-{number}" if number > 1 else ""), group)
            held = [h for f in group for h in (f.change.base_hash, f.change.new_hash) if h]
            decision = await self.deps.durable.decide(diff, parent=self.item, contents=held)
            match decision.verdict:
                case "feedback":
                    said = f"The person read your change and says:\n\n{scrub(decision.feedback or '')}"
                    return _Result(await self._again(said, group))
                case "stale":
                    return _Result(await self._again(decision.feedback or "A file changed.", group))
                case "reject":
                    self._reject(group, None, decision)
                case "accept":
                    clash = await self._write(diff, group, decision)
                    if clash:
                        return _Result(await self._again(clash, group))
        return _Result()

    async def _write(self, diff: Any, group: Sequence[Proposed], decision: Decision) -> str | None:
        """Write what was accepted. A sentence when somebody else's bytes were in the way; those are as they were."""
        wanted = [t for f in group for t in f.chosen(decision.hunks)]
        if not wanted:
            self._reject(group, decision.hunks, decision)
            return None
        outcome = await self.deps.durable.write(diff, wanted, parent=self.item)
        await self.deps.index.refresh_within(2.0)
        for file in outcome["files"]:
            if file["state"] == "done":
                gone = file["new_hash"] is None
                self.written[file["path"]] = (
                    "deleted" if gone else "created" if file["base_hash"] is None else "changed"
                )
        self._reject(group, decision.hunks, decision)
        clashes = [f for f in outcome["files"] if f["state"] != "done"]
        if not clashes:
            return None
        self.conflicts = [f"{f['path']}: {f['note'] or 'it is not what it was'}" for f in clashes]
        return "Not everything could be written, because somebody changed files meanwhile:\n" + "\n".join(
            self.conflicts
        )

    def _reject(self, group: Sequence[Proposed], hunks: Sequence[str] | None, decision: Decision) -> None:
        if decision.verdict == "accept" and hunks is None:
            return
        left = {h.id for f in group for h in f.change.hunks} - set(hunks or ())
        if left:
            why = f"\n(the person says: {scrub(decision.feedback)})" if decision.feedback else ""
            self.rejected.append(unified(group, left) + why)

    async def _again(self, why: str, group: Sequence[Proposed]) -> str:
        done = f"\n\nAlready written, not to be proposed again: {self._list()}." if self.written else ""
        now = await asyncio.to_thread(self._given, [display_path(f.source) for f in group])
        files = "\n\n".join(now)
        return f"{why}{done}\n\nWrite the whole change again, as edits of the files as they are now:\n\n{files}"

    def _list(self) -> str:
        return ", ".join(f"{path} ({what})" for path, what in self.written.items())

    # -- what the orchestrator is told

    def _outcome(self, result: _Result) -> ToolOutcome:
        value: dict[str, JsonValue] = {"written": dict(self.written)}
        if self.rejected:
            value["rejected_by_the_person"] = "\n".join(self.rejected)
        if not self.written:
            value["note"] = (
                "The person rejected the change; nothing was written. Do not propose it again unless they ask."
            )
            return ToolOutcome(value, "rejected: nothing was written", private=self.private)
        count = len(self.written)
        summary = f"{count} {'file' if count == 1 else 'files'} written: {', '.join(self.written)}"
        said = summary + ("; parts were rejected" if self.rejected else "")
        return ToolOutcome(value, said, private=self.private)

    def _gave_up(self, why: str) -> ToolOutcome:
        value: dict[str, JsonValue] = {
            "error": f"The coder did not get to a change that can be used: {why}",
            "written": dict(self.written),
        }
        return ToolOutcome(value, "no usable change", ok=False, private=self.private)


def _query(task: str) -> str:
    """The task as a search: its words, without what the search takes for operators."""
    words = [w for w in task.replace('"', " ").split() if ":" not in w and not w.startswith("-")]
    return " ".join(words)[:400]


def _focus(files: Sequence[str]) -> tuple[str, ...]:
    return tuple(f for f in files if f.strip() and '"' not in f and ":" not in f)[:10]
