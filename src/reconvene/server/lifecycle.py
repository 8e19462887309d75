"""The server's process from start to end.

In this order: claim the data folder, bind the sockets, open the database, serve; then, while pages and sessions are served
already, import what runs need and continue them. At the end the same backwards: no new connections, runs stop where they
are, clients are sent away with a time to return, the database is closed, the folder released.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import platform
import secrets
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from reconvene import __version__
from reconvene.agents.providers import Providers
from reconvene.commands.job import sweep
from reconvene.config import Settings
from reconvene.errors import ReconveneError
from reconvene.log.feed import Feed
from reconvene.log.folder import DataFolder, unusable
from reconvene.log.sqlite import SqliteLog
from reconvene.log.uptime import Uptime
from reconvene.protocol.frames import ServerInfo
from reconvene.runs.supervisor import STORE_PATIENCE, Supervisor
from reconvene.server import logs
from reconvene.server.app import App, build_app
from reconvene.server.asgi import Application
from reconvene.server.capacity import Capacity
from reconvene.server.connections import Connections
from reconvene.server.credentials import Credentials
from reconvene.server.full_collections import FullCollections
from reconvene.server.gate import Addresses
from reconvene.server.metrics import Metrics
from reconvene.server.oidc import Oidc
from reconvene.server.server_file import remove_server_file, write_server_file
from reconvene.server.services import Services
from reconvene.server.sockets import bind
from reconvene.server.web import WebServer, web_config
from reconvene.sessions.in_step import InStep
from reconvene.sessions.service import Sessions
from reconvene.sessions.sweeper import Sweeper
from reconvene.workspace.roots import Roots

if TYPE_CHECKING:
    from reconvene.index import Indexes
    from reconvene.log.postgres import PostgresLog

RUNS_PATIENCE = 5.0
GOODBYE_PATIENCE = 2.0
INFORMED_EVERY = 2.0
"""Seconds between two looks at what other servers on the same store wrote about who may come in."""
COMMANDS_KEPT = 86_400.0
"""Seconds; the output of older commands is in the log, what they left in the data folder goes."""
_log = structlog.get_logger("reconvene.server")


@dataclass(frozen=True, slots=True)
class Ready:
    """The server answers. `new_link` makes a one-time sign-in link; `sessions` are kept here, `runs` go on by themselves, `waiting`
    ones for a person."""

    url: str
    port: int
    new_link: Callable[[], str]
    sessions: int
    runs: int
    waiting: int


@dataclass(frozen=True, slots=True)
class Ended:
    """The server has ended well. With `restart` its process should begin again, with these roots on this port."""

    restart: bool
    roots: tuple[str, ...]
    port: int


Endpoints = Callable[[Services], Mapping[str, Application]]
"""Makes what is served beside our own protocol, by path."""


def run_server(
    settings: Settings,
    roots: Sequence[str | Path],
    *,
    on_ready: Callable[[Ready], None] | None = None,
    endpoints: Endpoints | None = None,
) -> Ended:
    """Serve until SIGTERM, SIGINT, `POST /api/stop` or `idle_exit`. A second signal ends the process at once.

    Raises:
        ReconveneError: it cannot start: `already_running` (details: pid), `port_in_use` (pid if known), `unsafe_permissions`,
            `data_dir_unusable`, `store_*`, or what is wrong with a root.
    """
    return asyncio.run(Server(settings, roots, on_ready=on_ready, endpoints=endpoints).run())


class Server:
    """One server. `run` it once; `stop` asks it to end."""

    def __init__(
        self,
        settings: Settings,
        roots: Sequence[str | Path],
        *,
        on_ready: Callable[[Ready], None] | None = None,
        endpoints: Endpoints | None = None,
    ) -> None:
        self.settings = settings
        self.services: Services | None = None
        self._root_paths = list(roots)
        self._on_ready = on_ready
        self._endpoints = endpoints
        self._stopping = asyncio.Event()
        self._restart = False
        self._indexes: Indexes | None = None

    async def run(self) -> Ended:
        settings = self.settings
        folder = await asyncio.to_thread(DataFolder.claim, settings.data_dir)
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(folder.release)
            try:
                await asyncio.to_thread(logs.configure, settings.data_dir / "logs", settings.log_level)
            except OSError as e:
                raise unusable(settings.data_dir, e) from e
            sockets = bind(
                settings.host,
                settings.port,
                public=settings.public_url is not None,
                send_time=settings.limits.send_time,
            )
            for listening in sockets:
                stack.callback(listening.close)
            port: int = sockets[0].getsockname()[1]
            addresses = Addresses.of(port, settings.public_url, settings.allowed_origins)
            roots = Roots(data_dir=settings.data_dir, limits=settings.limits)
            for path in self._root_paths:
                await asyncio.to_thread(roots.add, path)
            log = await _open_log(settings)
            stack.push_async_callback(log.close)
            await self._serve(log, roots, sockets, addresses)
            return Ended(self._restart, tuple(str(w.root) for w in roots.all()), port)

    def stop(self, restart: bool = False) -> None:
        """Drain and end. Calling it again changes nothing."""
        if not self._stopping.is_set():
            self._restart = restart
            self._stopping.set()

    # -- the middle: everything that needs the open database

    async def _serve(
        self, log: SqliteLog | PostgresLog, roots: Roots, sockets: list[socket.socket], addresses: Addresses
    ) -> None:
        settings, limits = self.settings, self.settings.limits
        uptime = await Uptime.load(log)
        sessions = Sessions(log, Feed(log, limits), roots, settings, uptime)
        supervisor, sweeper = await _supervisor(sessions), Sweeper(sessions)
        in_step = InStep(sessions)
        node = f"{platform.node()}:{settings.data_dir}" if log.shared else None
        credentials = await Credentials.open(settings.data_dir, log, uptime.now, node=node)
        capacity, metrics, boot = Capacity(limits), Metrics(), secrets.token_hex(4)
        connections = Connections(sessions, capacity, metrics, limits, ServerInfo(boot=boot, version=__version__))
        credentials.on_revoked.append(connections.revoked)
        sessions.on_gone.append(credentials.views.session_gone)
        oidc = Oidc.of(settings, addresses.url)
        credentials.accounts = oidc is not None
        services = self.services = Services(
            sessions=sessions,
            runs=supervisor,
            credentials=credentials,
            settings=settings,
            addresses=addresses,
            capacity=capacity,
            metrics=metrics,
            connections=connections,
            stop=self.stop,
            boot=boot,
            version=__version__,
            providers=Providers.of(settings),
            oidc=oidc,
            on_root=[supervisor.kick_root],
            on_close=[credentials.views.settled, in_step.stop],
        )
        if self._endpoints is not None:
            services.endpoints = self._endpoints(services)
        log.on_lost = self._lost
        if not isinstance(log, SqliteLog):
            log.on_gone_back = lambda: self.stop(restart=True)
        asyncio.get_running_loop().set_exception_handler(_Unforeseen())
        gate, app = build_app(services)
        web = WebServer(web_config(gate, settings))
        helpers: list[asyncio.Task[Any]] = []
        with self._signals():
            serving = asyncio.create_task(web.serve(sockets=sockets), name="web")
            serving.add_done_callback(lambda _: self.stop())
            try:
                await web.begun(serving)
                connections.start()
                sweeper.start()
                if log.shared:
                    in_step.start()
                    helpers.append(asyncio.create_task(_stay_informed(credentials), name="credentials"))
                write_server_file(settings.data_dir, addresses.port)
                _log.info("serving", port=addresses.port, pid=os.getpid(), roots=[str(w.root) for w in roots.all()])
                await self._announce(services)
                starting = asyncio.create_task(self._start_runs(services, supervisor, app), name="start runs")
                helpers += [starting, asyncio.create_task(self._watch_idleness(services, starting), name="idleness")]
                collections = FullCollections(lambda: self._busy(services), self._building)
                helpers.append(asyncio.create_task(collections.keep(), name="full collections"))
                await self._stopping.wait()
            finally:
                remove_server_file(settings.data_dir)
                await self._drain(services, supervisor, sweeper, web, serving, helpers)

    async def _announce(self, services: Services) -> None:
        if self._on_ready is None:
            return
        kept = await services.sessions.log.sessions()
        going = sum(session.status in ("running", "recovering") for session in kept)
        waiting = sum(session.status == "waiting" for session in kept)
        link = lambda: services.credentials.new_link(services.addresses.url)  # noqa: E731
        self._on_ready(
            Ready(services.addresses.url, services.addresses.port, link, sum(1 for s in kept if s.head), going, waiting)
        )

    async def _start_runs(self, services: Services, supervisor: Supervisor, app: App) -> None:
        """Import what runs need, which takes a second, and continue what a crash interrupted; until both succeed.

        Without file descriptors, memory or a store that answers neither does; all of these come back.
        """
        wait, continued = STORE_PATIENCE, False
        while True:
            try:
                if self._indexes is None:
                    supervisor.around, self._indexes = await asyncio.to_thread(_surroundings, services, self.settings)
                    _keep_for_ever()
                if not continued:
                    await supervisor.start()
                    continued = True
                    await asyncio.to_thread(sweep, self.settings.data_dir, COMMANDS_KEPT)
                await app.warm()
                _keep_for_ever()
                if services.indexing is None and self._indexes is not None:
                    from reconvene.server.indexing import Indexing

                    services.indexing = Indexing(services, self._indexes)
                    services.indexing.begin()
                return
            except ReconveneError as e:
                _log.warning("runs cannot be continued yet", code=e.code, message=e.message)
            except Exception:
                _log.exception("runs cannot be started yet: sessions are served, prompts wait")
            await asyncio.sleep(wait)
            wait = min(60.0, 2 * wait)

    async def _watch_idleness(self, services: Services, starting: asyncio.Task[None]) -> None:
        longest = self.settings.idle_exit
        if longest is None:
            return
        await asyncio.wait({starting}, timeout=60)
        requests, since = -1, time.monotonic()
        while True:
            busy = services.capacity.connections or services.runs.active or services.metrics.requests != requests
            if busy:
                requests, since = services.metrics.requests, time.monotonic()
            elif time.monotonic() - since >= longest:
                _log.info("idle for long enough", seconds=longest)
                self.stop()
                return
            await asyncio.sleep(min(5.0, longest / 4))

    def _busy(self, services: Services) -> bool:
        """Whether a run goes on or an index is being read."""
        return services.runs.active > 0 or self._building()

    def _building(self) -> bool:
        return self._indexes is not None and self._indexes.reading

    def _lost(self, error: ReconveneError) -> None:
        """The database was deleted or replaced under us: say so loudly, to clients too, and write nothing more."""
        _log.critical("the database is gone", code=error.code, message=error.message)
        if self.services is not None:
            self.services.unwell = error
            self.services.connections.lost(error)

    async def _drain(
        self,
        services: Services,
        supervisor: Supervisor,
        sweeper: Sweeper,
        web: WebServer,
        serving: asyncio.Task[None],
        helpers: Sequence[asyncio.Task[Any]],
    ) -> None:
        _log.info("draining", connections=len(services.connections), runs=supervisor.active)
        services.connections.draining.set()
        web.stop_accepting()
        for task in helpers:
            task.cancel()
        await asyncio.gather(*helpers, return_exceptions=True)
        try:
            async with asyncio.timeout(RUNS_PATIENCE):
                await supervisor.drain()
        except TimeoutError:
            _log.warning("some runs did not stop in time; they are continued from the log at the next start")
        await services.connections.drain(GOODBYE_PATIENCE)
        await services.connections.stop()
        web.should_exit = True
        await asyncio.gather(serving, return_exceptions=True)
        for close in services.on_close:
            await close()
        with contextlib.suppress(ReconveneError):  # a store that is gone takes no last words
            await sweeper.stop()
        if self._indexes is not None:
            await self._indexes.close()
        _log.info("ended")

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()

        def caught() -> None:
            if self._stopping.is_set():
                os._exit(1)  # the log is crash-safe: leaving in the middle costs nothing that was acknowledged
            self.stop()

        caught_signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        for number in caught_signals:
            loop.add_signal_handler(number, caught)
        try:
            yield
        finally:
            for number in caught_signals:
                loop.remove_signal_handler(number)


async def _open_log(settings: Settings) -> SqliteLog | PostgresLog:
    if settings.database is None:
        return await SqliteLog.open(settings.database_file)
    try:
        from reconvene.log.postgres import PostgresLog
        from reconvene.runs import queue  # noqa: F401  # to say now what is not installed
    except ModuleNotFoundError as e:
        sentence = f"A PostgreSQL database needs the package {e.name}. Install reconvene[postgres]."
        raise ReconveneError("store_error", sentence) from e
    return await PostgresLog.open(settings.database.get_secret_value())


async def _supervisor(sessions: Sessions) -> Supervisor:
    if not sessions.log.shared:
        return Supervisor(sessions)
    from reconvene.runs.node import NodeSupervisor

    supervisor = NodeSupervisor(sessions)
    await supervisor.install()
    return supervisor


async def _stay_informed(credentials: Credentials) -> None:
    """What other servers on the same store let in or revoked holds here within seconds, and ends what is open with it."""
    while True:
        await asyncio.sleep(INFORMED_EVERY)
        with contextlib.suppress(ReconveneError):  # a store that does not answer now is asked again
            await credentials.look_again()


class _Unforeseen:
    """The loop's exception handler. While no file descriptor is left asyncio says so thousands of times a second."""

    def __init__(self) -> None:
        self._said = float("-inf")

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if "out of system resource" not in str(context.get("message")):
            loop.default_exception_handler(context)
        elif loop.time() - self._said >= 10:
            self._said = loop.time()
            _log.error("connections cannot be accepted now", error=str(context.get("exception")))


def _keep_for_ever() -> None:
    """What the imports made stays: a full collection that looks at all of it would be seen as a pause."""
    gc.freeze()


def _surroundings(services: Services, settings: Settings) -> tuple[Any, Indexes]:
    """Everything heavy is imported and made here, in a thread, while the loop serves."""
    from reconvene.agents.rehearsal import rehearse
    from reconvene.index import Indexes
    from reconvene.runs.attempt import Surroundings
    from reconvene.server import plain_client, resumable_client  # noqa: F401  # the first connection would import them
    from reconvene.server.telemetry import Telemetry

    def alive(root: str) -> bool:
        return services.connections.on_root(root) or services.runs.active > 0

    rehearse(services.providers)
    indexes = Indexes(settings.data_dir, settings.limits, kept=True, alive=alive)
    around = Surroundings(services.sessions, indexes)
    telemetry = Telemetry.open(settings, services.metrics, version=services.version, instance=services.boot)
    if telemetry is not None:
        around.tracing = telemetry.tracing
        services.on_close.append(telemetry.close)
    return around, indexes
