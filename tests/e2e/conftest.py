"""Real servers, a real Chromium, a provider that follows a script, and a network that can be cut.

All of it but the context (a browser profile) is shared by the tests; each has sessions of its own. A test that kills the server
starts it again on the same port and data, which is what the others rely on.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from chromium import chromium_path
from cut_network import Proxy
from model_provider import MODEL, Provider
from playwright.async_api import Browser, BrowserContext, async_playwright
from real_server import Server
from shown import PATIENCE, Watch


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test of many steps, each of which may take as long as a busy machine makes it."""
    for item in items:
        if item.get_closest_marker("browser"):
            item.add_marker(pytest.mark.timeout(900))


FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking")
FLAGS += ("--disable-component-update", "--disable-sync")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=str(chromium_path()), args=FLAGS)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="session")
async def context(browser: Browser) -> AsyncIterator[BrowserContext]:
    """A browser profile. No code of a page may fail in it."""
    context = await browser.new_context()
    context.set_default_timeout(PATIENCE)
    failures: list[str] = []
    context.on("weberror", lambda error: failures.append(str(error.error)))
    yield context
    await context.close()
    assert not failures


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def provider() -> AsyncIterator[Provider]:
    provider = Provider()
    await provider.start()
    yield provider
    await provider.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def one_proxy() -> AsyncIterator[Proxy]:
    """It stands before the server, which has to know its address."""
    proxy = Proxy()
    await proxy.start()
    yield proxy
    await proxy.close()


@pytest.fixture(scope="session")
def one_server(tmp_path_factory: pytest.TempPathFactory, provider: Provider, one_proxy: Proxy) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("scripted")
    server = Server(folder, "--model", MODEL, "--public-url", one_proxy.origin, environ=provider.environ)
    yield server
    server.close()


@pytest.fixture
def server(one_server: Server, one_proxy: Proxy) -> Server:
    """Its model is the provider's."""
    one_proxy.reset()  # what it is told to be reached by goes through there
    if not one_server.is_up:
        one_server.start()
        one_proxy.target = one_server.port
    return one_server


@pytest.fixture
def proxy(one_proxy: Proxy, server: Server) -> Proxy:
    one_proxy.reset()
    return one_proxy


@pytest.fixture(scope="session")
def one_offline_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("offline"))
    yield server
    server.close()


@pytest.fixture
def offline_server(one_offline_server: Server) -> Server:
    """Its model is the one that needs no provider."""
    if not one_offline_server.is_up:
        one_offline_server.start()
    return one_offline_server


@pytest_asyncio.fixture(loop_scope="session")
async def watch(context: BrowserContext) -> Watch:
    return await Watch.of(context)
