"""Pictures of the page for people to look at: `make screenshots` leaves them in `build/screenshots`."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Literal

import pytest
import pytest_asyncio
from cut_network import Proxy
from model_provider import MODEL, Hold, Provider, Refuse, do, say
from playwright.async_api import Browser, Page, expect
from real_server import Server
from shown import ask, at, drawn, ended, opened, session_of

from reconvene.agents.edit_format import Create, Edit, Replace, render

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

FOLDER = Path(__file__).parents[2] / "build" / "screenshots"
SIZES = {"narrow": (320, 640), "wide": (1440, 900)}
DRAWN = pytest.mark.parametrize(
    ("size", "scheme"),
    [
        ("wide", "light"),
        ("narrow", "dark"),
        pytest.param("wide", "dark", marks=pytest.mark.long),
        pytest.param("narrow", "light", marks=pytest.mark.long),
    ],
)
"""Each size and each scheme with the other tests, all four with `make screenshots`."""
ANSWER = """\
Idle sessions are swept by **`Hub.sweep`** at `src/hub.py:2-4`, which asks each session whether it is idle:

```python
def sweep(self, now):
    '''Remove idle sessions.'''
    return [s for s in self.sessions if s.idle(now)]
```

A session is idle an hour after it was last active (`src/session.py:3`). In short:

1. `Hub.sweep` is called with the time
2. each session compares it with `last_active`

| what | where | how often |
|---|---|---|
| the hub | `src/hub.py` | whenever somebody calls it |
| a session | `src/session.py` | never by itself |

> Nothing calls `sweep` by itself: there is no timer in this code base.
"""
SWEEPER = "How do idle sessions go away?"
QUESTION = "Where are idle sessions swept, and how often does that happen?"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def between() -> AsyncIterator[Proxy]:
    proxy = Proxy()
    await proxy.start()
    yield proxy
    await proxy.close()


@pytest.fixture(scope="module")
def pictured(tmp_path_factory: pytest.TempPathFactory, provider: Provider, between: Proxy) -> Iterator[Server]:
    """A server of its own, so that its list of sessions is not that of all tests."""
    folder = tmp_path_factory.mktemp("pictured")
    server = Server(folder, "--model", MODEL, "--public-url", between.origin, environ=provider.environ)
    server.start()
    between.target = server.port
    provider.on("What does the readme say?", say("Little."))
    provider.on("Explain every file", say("I begin with", Hold()))
    provider.on("Rename it", do(("ask_user", {"question": "To what?"})), say("Done."))
    for other in ("What does the readme say?", "Explain every file", "Rename it"):
        session = server.call("POST", "/api/sessions", {})["session_id"]
        prompt = {"type": "default", "id": str(uuid.uuid4()), "content": other}
        server.call("POST", f"/api/sessions/{session}/messages", prompt)
    yield server
    server.close()


async def in_its_frame(page: Page, width: int, view: str) -> None:
    """Nothing is wider than the window, and whatever was scrolled to, the page itself has not moved."""
    assert await page.evaluate("document.documentElement.scrollWidth") <= width, view
    moved = (
        "[document.documentElement, document.body, document.querySelector('.frame')].map(box => box?.scrollTop ?? 0)"
    )
    assert await page.evaluate(moved) == [0, 0, 0], view


@DRAWN
async def test_every_view_is_drawn(
    browser: Browser,
    pictured: Server,
    between: Proxy,
    provider: Provider,
    scheme: Literal["light", "dark"],
    size: str,
) -> None:
    """No view is wider than its window, and no code of the page fails."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    width, height = SIZES[size]
    hold = Hold()
    provider.on(
        QUESTION,
        do(("search", {"query": "sweep idle sessions"}), ("search", {"query": "last_active"})),
        do(("read_file", {"path": "src/hub.py"}), ("read_file", {"path": "src/timer.py"})),
        do(("create_plan", {"title": "Find out who sweeps", "steps": ["Read `Hub.sweep`", "Look for a timer"]})),
        say(ANSWER[:330], hold, ANSWER[330:]),
    )
    provider.on(
        "And who calls it?",
        do(("ask_user", {"question": "Which of the two hubs do you mean, `src/hub.py` or the old one?"})),
        say("Nobody calls it yet."),
    )
    provider.on("Once more", Refuse(401, "Incorrect API key provided"))
    complaints: list[str] = []

    async with await browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion="reduce"
    ) as context:

        async def picture(page: Page, name: str) -> None:
            await page.screenshot(path=FOLDER / f"{name}-{size}-{scheme}.png", animations="disabled")
            await in_its_frame(page, width, name)

        page = await context.new_page()
        await page.goto(pictured.origin)
        await picture(page, "signed-out")
        page = await opened(context, pictured, via=between)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        await expect(at(page, "workspace")).to_be_visible()
        await picture(page, "empty")
        await ask(page, QUESTION)
        await expect(at(page, "answer-text")).to_contain_text("last active")
        await ask(page, "And who calls it?")
        await ask(page, "Once more")
        await expect(at(page, "queued")).to_have_count(2)
        await picture(page, "running")
        hold.set()
        await expect(at(page, "question")).to_be_visible()
        await at(page, "turn").first.evaluate("turn => turn.scrollIntoView()")
        await picture(page, "answered")
        await at(page, "question").scroll_into_view_if_needed()
        await picture(page, "question")
        await page.locator("[data-testid=step][data-tool=search] summary").first.click()
        await page.locator("[data-testid=step][data-tool=search]").first.scroll_into_view_if_needed()
        await picture(page, "step")
        between.down()
        await expect(at(page, "link-state")).to_have_attribute("data-phase", "waiting")
        await at(page, "answer").fill("the new one")
        await at(page, "send-answer").click()
        await ask(page, "Written without a network")
        await picture(page, "reconnecting")
        between.up()
        await expect(at(page, "link-state")).to_contain_text("Resumed")
        await picture(page, "resumed")
        await expect(at(page, "error")).to_be_visible()
        await at(page, "error").scroll_into_view_if_needed()
        await picture(page, "error")
        await at(page, "stop").click()
        if size == "narrow":
            await at(page, "menu").click()
        await expect(at(page, "session-list")).to_be_visible()
        await picture(page, "sessions")
        await context.clear_cookies()
        between.break_all()
        await expect(at(page, "stopped")).to_be_visible()
        await page.keyboard.press("Escape")
        await expect(at(page, "outcome").last).to_be_in_viewport()  # the bar takes room, the end stays in sight
        await picture(page, "sign-in-ended")
    assert not complaints


HUB = """\
class Hub:
    '''Keeps the sessions of one server, and forgets those that nobody uses.'''

    def __init__(self, clock, sessions=()):
        self.clock = clock
        self.sessions = list(sessions)

    def add(self, session):
        self.sessions.append(session)

    def sweep(self, now):
        '''Remove idle sessions.'''
        return [s for s in self.sessions if s.idle(now)]
"""
SWEEP = Replace(
    (
        "    def sweep(self, now):",
        "        '''Remove idle sessions.'''",
        "        return [s for s in self.sessions if s.idle(now)]",
    ),
    (
        "    def sweep(self, now=None):",
        "        '''Remove idle sessions and return them.'''",
        "        now = self.clock() if now is None else now",
        "        idle = [s for s in self.sessions if s.idle(now)]",
        "        self.sessions = [s for s in self.sessions if not s.idle(now)]",
        "        return idle",
    ),
)
INIT = Replace(
    ("    def __init__(self, clock, sessions=()):",), ("    def __init__(self, clock, sessions=(), interval=60):",)
)
TIMER = (
    "'''Calls `sweep` once in a while.'''",
    "",
    "def run(hub, sleep):",
    "    while True:",
    "        hub.sweep()",
    "        sleep(hub.interval)",
)
CHANGE = "Sweep every minute, and forget what was swept"


@DRAWN
async def test_a_change_is_drawn(
    browser: Browser,
    pictured: Server,
    between: Proxy,
    provider: Provider,
    scheme: Literal["light", "dark"],
    size: str,
) -> None:
    (pictured.root / "src/wheel.py").write_text(HUB)
    (pictured.root / "src/clock.py").unlink(missing_ok=True)
    (pictured.root / "Makefile").unlink(missing_ok=True)
    edits = [
        Edit("src/wheel.py", (INIT, SWEEP)),
        Create("src/clock.py", TIMER),
        Create("Makefile", ("run:", "\tpython -m src.clock")),
    ]
    provider.on(
        CHANGE,
        do(
            (
                "create_plan",
                {"title": "Sweep every minute", "steps": ["Let `Hub.sweep` forget", "Add a timer", "Run both"]},
            )
        ),
        do(("update_code", {"task": "Sweep", "files": ["src/wheel.py"]})),
        say("`Hub.sweep` forgets what it returns (`src/wheel.py:11`), and `src/clock.py` calls it every minute."),
    )
    provider.on("The task:\nSweep", say(render(edits)))
    width, height = SIZES[size]
    async with await browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion="reduce"
    ) as context:

        async def picture(page: Page, name: str) -> None:
            await page.screenshot(path=FOLDER / f"{name}-{size}-{scheme}.png", animations="disabled")
            await in_its_frame(page, width, name)

        page = await opened(context, pictured, via=between)
        await ask(page, CHANGE)
        await expect(at(page, "hunk")).to_have_count(2)
        await page.locator(".rows .hljs-keyword").first.wait_for(state="attached")
        await at(page, "diff").scroll_into_view_if_needed()
        await picture(page, "diff")
        if size == "wide":
            await at(page, "split").click()
            await picture(page, "diff-split")
            await at(page, "unified").click()
        await at(page, "hunk").nth(1).get_by_role("checkbox").uncheck()
        await at(page, "comment").nth(1).click()
        await at(page, "comment-text").fill("Say in the docstring that they are gone.")
        await at(page, "hunk").nth(1).scroll_into_view_if_needed()
        await picture(page, "diff-comment")
        await at(page, "comment-text").fill("")
        await at(page, "hunk").nth(1).get_by_role("checkbox").check()
        await at(page, "accept").click()
        await expect(at(page, "diff")).to_have_count(2)
        await at(page, "diff").last.scroll_into_view_if_needed()
        await picture(page, "diff-risky")
        await at(page, "accept").click()
        await ended(page)
        await picture(page, "changed")
        await at(page, "plan").locator("summary").click()
        await at(page, "plan-edit").click()
        await at(page, "plan").scroll_into_view_if_needed()
        await picture(page, "plan")
        await at(page, "rewind").click()
        await picture(page, "rewind")
        await page.keyboard.press("Escape")
        (pictured.root / "src/wheel.py").write_text(HUB.replace("Keeps", "Holds"))
        await at(page, "undo").first.click()
        await expect(at(page, "compare")).to_be_visible()
        await at(page, "compare").scroll_into_view_if_needed()
        await picture(page, "conflict")
        await at(page, "compare").click()
        await expect(at(page, "beside").locator(".row").first).to_be_visible()
        await picture(page, "compare")
        await page.keyboard.press("Escape")
        await at(page, "resend").click()
        await at(page, "resend-text").fill("What does the readme say?")
        await at(page, "go-back").click()
        await expect(at(page, "rewound").first).to_be_visible()
        await expect(at(page, "stop")).to_have_count(0)
        await picture(page, "rewound")


SOURCE = Path(__file__).parents[2] / "src" / "reconvene"


@DRAWN
async def test_what_stands_around_the_conversation_is_drawn(
    browser: Browser, own_code: Server, provider: Provider, scheme: Literal["light", "dark"], size: str
) -> None:
    provider.on(
        SWEEPER, do(("search", {"query": "sweep idle sessions"}), ("symbol", {"name": "Sweeper"})), say("Here.")
    )
    width, height = SIZES[size]
    async with await browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion="reduce"
    ) as context:

        async def picture(page: Page, name: str) -> None:
            await drawn(page)
            await page.screenshot(path=FOLDER / f"{name}-{size}-{scheme}.png", animations="disabled")
            await in_its_frame(page, width, name)

        page = await opened(context, own_code)
        await expect(at(page, "facts")).to_have_attribute("data-phase", "ready")
        await picture(page, "first-minute")
        await ask(page, SWEEPER)
        await ended(page)
        await at(page, "open-map").click()
        await expect(at(page, "map-file").first).to_be_visible()
        await picture(page, "map")
        await at(page, "map-symbol").first.click()
        await expect(at(page, "definition").first).to_be_visible()
        await picture(page, "map-name")
        await at(page, "back").click()
        await at(page, "view-picture").click()
        await expect(at(page, "cell").first).to_be_visible()
        await picture(page, "map-picture")
        await at(page, "view-table").click()
        await expect(at(page, "picture-table")).to_be_visible()
        await picture(page, "map-table")
        await at(page, "close-map").click()
        await at(page, "prompt").press_sequentially("look at @swe")
        await expect(at(page, "completion").first).to_be_visible()
        await picture(page, "completion")
        await at(page, "prompt").fill("")
        await page.keyboard.press("Control+k")
        await expect(at(page, "palette-input")).to_be_focused()
        await picture(page, "palette-empty")
        await page.keyboard.type("sweep")
        await expect(at(page, "choice").filter(has_text="sweeper.py").first).to_be_visible()
        await picture(page, "palette")
        await page.keyboard.press("Escape")
        await expect(at(page, "palette")).to_have_count(0)  # it gives the focus back when it goes
        await page.evaluate("document.activeElement.blur()")
        await page.keyboard.press("?")
        await expect(at(page, "keys")).to_be_visible()
        await picture(page, "keys")
        await page.keyboard.press("Escape")
        if size == "narrow":
            await at(page, "menu").click()
        entry = page.locator(f"[data-testid=session][data-session={session_of(page)}]")
        await entry.hover()
        await entry.get_by_test_id("session-menu").click()
        await expect(at(page, "stay")).to_be_visible()
        await picture(page, "session-menu")
        await page.keyboard.press("Escape")
        await at(page, "find").fill("sweep")
        await expect(at(page, "hit").first).to_be_visible()
        await picture(page, "found")
        await at(page, "find").fill("")
        await at(page, "model").click()
        await expect(at(page, "model-dialog")).to_be_visible()
        await picture(page, "model")


def of_its_own_source(folder: Path, provider: Provider) -> Iterator[Server]:
    """A server of a code base of some size."""
    server = Server(folder, "--model", MODEL, environ=provider.environ)
    shutil.rmtree(server.root)
    shutil.copytree(SOURCE, server.root, ignore=shutil.ignore_patterns("static", "__pycache__"))
    server.start()
    yield server
    server.close()


@pytest.fixture(scope="module")
def own_code(tmp_path_factory: pytest.TempPathFactory, provider: Provider) -> Iterator[Server]:
    yield from of_its_own_source(tmp_path_factory.mktemp("own"), provider)


@pytest.fixture(scope="module")
def readme_code(tmp_path_factory: pytest.TempPathFactory, provider: Provider) -> Iterator[Server]:
    """Its list of sessions is that of the README's pictures alone."""
    yield from of_its_own_source(tmp_path_factory.mktemp("readme"), provider)


def line_of(path: str, text: str) -> int:
    lines = (SOURCE / path).read_text("utf-8").splitlines()
    return next(n for n, line in enumerate(lines, 1) if text in line)


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.long)])
async def test_the_pictures_of_the_readme_are_drawn(
    browser: Browser, readme_code: Server, provider: Provider, scheme: Literal["light", "dark"]
) -> None:
    """`make screenshots` puts them into docs/images. They stay small enough to be kept with the code."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    question = SWEEPER
    sweep, may_go = (line_of("sessions/sweeper.py", text) for text in ("def sweep(", "def _may_go("))
    answer = (
        f"They are swept by **`Sweeper.sweep`** at `sessions/sweeper.py:{sweep}`, once every `sweep_interval`:\n\n"
        "1. the memory of those that were idle for `idle_unload` is freed; they stay resumable\n"
        "2. those that were idle for `retention` are archived, and deleted in a later round\n\n"
        f"Nothing alive goes: `sessions/sweeper.py:{may_go}` spares what is pinned or open somewhere, and only idle "
        "sessions are asked for in the first place."
    )
    provider.on(
        question,
        do(("search", {"query": "sweep idle sessions"}), ("symbol", {"name": "Sweeper"})),
        do(("read_file", {"path": "sessions/sweeper.py"})),
        say(answer),
    )
    async with await browser.new_context(
        viewport={"width": 1204, "height": 640}, color_scheme=scheme, reduced_motion="reduce"
    ) as context:
        page = await opened(context, readme_code)
        await expect(at(page, "facts")).to_have_attribute("data-phase", "ready")
        await ask(page, question)
        await expect(at(page, "turn").last).to_have_attribute("data-outcome", "success")
        await at(page, "open-map").click()
        await expect(at(page, "map-file").first).to_be_visible()
        if scheme == "dark":
            await at(page, "view-picture").click()
            await expect(at(page, "cell").first).to_be_visible()
        await page.evaluate("document.activeElement.blur()")
        await at(page, "transcript").evaluate("column => column.parentElement.scrollTop = 0")
        await drawn(page)
        path = FOLDER / f"page-{scheme}.png"
        await page.screenshot(path=path, animations="disabled")
        assert path.stat().st_size <= 200_000
