"""A model added from the page: no restart, no environment, and commands it may run once the person allows them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from accessible import clean
from model_provider import Provider, do, say
from playwright.async_api import BrowserContext, expect
from real_server import Server
from shown import ask, at, ended, opened, says

from reconvene.agents.providers import Providers
from reconvene.workspace.permissions import Permission, Permissions

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Server]:
    """A server without a model, as a newcomer has it."""
    server = Server(tmp_path)
    server.start()
    yield server
    server.close()


async def test_a_newcomer_adds_a_model_and_goes_on(context: BrowserContext, bare: Server, provider: Provider) -> None:
    page = await opened(context, bare)
    await at(page, "add-model").click()
    dialog = at(page, "model-dialog")
    await expect(dialog).to_be_visible()
    await clean(page)
    await at(page, "provider").select_option("openai-chat")
    await at(page, "model-name").fill("scripted")
    await at(page, "model-url").fill("https://elsewhere.example/v1")
    await at(page, "model-save").click()
    await expect(at(page, "model-refused")).to_contain_text("of this machine")
    await at(page, "model-url").fill(provider.environ["OPENAI_BASE_URL"])
    await at(page, "model-save").click()
    await expect(dialog).to_be_hidden()
    await expect(at(page, "model")).to_have_text("openai-chat:scripted")
    await expect(at(page, "model-in-use")).to_contain_text("Answers come from openai-chat:scripted")
    provider.on("Who are you?", say("A model ", "that was just added."))
    await ask(page, "Who are you?")
    await ended(page)
    await says(page, "A model that was just added.")


async def test_escape_closes_it_and_changes_nothing(context: BrowserContext, bare: Server) -> None:
    page = await opened(context, bare)
    await at(page, "model").click()
    await expect(at(page, "model-dialog")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(at(page, "model-dialog")).to_be_hidden()
    await expect(at(page, "model")).to_have_text("no language model")
    await at(page, "model").click()  # and it opens again
    await expect(at(page, "model-dialog")).to_be_visible()


async def test_the_one_that_takes_over_and_what_a_day_may_cost(
    context: BrowserContext, server: Server, provider: Provider
) -> None:
    page = await opened(context, server)
    await at(page, "model").click()
    await expect(at(page, "model-fallback")).to_have_value("")
    await at(page, "model-fallback").fill("nobody:has-it")
    await at(page, "model-cap").fill("2.5")
    await at(page, "model-save").click()
    await expect(at(page, "model-refused")).to_contain_text("nobody")
    await at(page, "model-fallback").fill("openai-chat:another")
    await at(page, "model-save").click()
    await expect(at(page, "model-dialog")).to_be_hidden()
    await at(page, "model").click()
    await expect(at(page, "model-fallback")).to_have_value("openai-chat:another")
    await expect(at(page, "model-cap")).to_have_value("2.5")
    await expect(at(page, "model-spent")).to_contain_text("$0.00 today")
    await at(page, "model-cap").fill("")
    await at(page, "model-fallback").fill("")
    await at(page, "model-save").click()
    await expect(at(page, "model-dialog")).to_be_hidden()
    set_now = Providers(server.data, "offline")
    assert set_now.daily_cap is None and set_now.fallback is None


async def test_a_command_is_asked_for_and_its_output_is_shown(
    context: BrowserContext, server: Server, provider: Provider
) -> None:
    Permissions(server.data).allow(str(server.root), Permission(commands=True))
    provider.on(
        "Run the tests",
        do(("run_command", {"command": ["sh", "-c", "echo all green; echo 3 passed"]})),
        say("They pass."),
    )
    page = await opened(context, server)
    await ask(page, "Run the tests")
    question = at(page, "question")
    await expect(question).to_contain_text("echo all green")
    await question.get_by_text("once", exact=True).click()
    await ended(page)
    step = page.locator("[data-testid=step][data-tool=run_command]")
    await expect(step).to_contain_text("exit 0")
    await step.locator("summary").click()
    await expect(at(page, "output")).to_have_text("all green\n3 passed\n")
