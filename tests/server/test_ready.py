"""`/readyz`: what a load balancer is told, from the start to the end."""

from __future__ import annotations

from pathlib import Path

from serving import serving

from reconvene.errors import ReconveneError
from reconvene.server.lifecycle import Server


async def test_it_is_ready_when_it_can_do_everything_and_not_while_it_drains(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:  # runs are never started here
        answer = await server.http("GET", "/readyz", bearer=False)
        assert (answer.status, answer.json) == (503, {"status": "starting"})
    async with serving(tmp_path, kind=Server) as server:
        while server.services.indexing is None:
            await server.http("GET", "/api/me")
        assert (await server.http("GET", "/readyz", bearer=False)).status == 200
        server.services.unwell = ReconveneError("store_lost", "Gone.")
        assert (await server.http("GET", "/readyz", bearer=False)).json == {"status": "store_lost"}
        server.services.unwell = None
        server.services.connections.draining.set()
        answer = await server.http("GET", "/readyz", bearer=False)
        assert (answer.status, answer.json) == (503, {"status": "draining"})
        assert (await server.http("GET", "/healthz", bearer=False)).status == 200, "it lives until it has ended"
