"""The page's files and the sample."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest
from serving import serving

from reconvene.server import page

SAMPLE = """\
let sessionId = localStorage.getItem('sessionId');
function connect() {
  const ws = new WebSocket('ws://localhost:8000/ws');
  ws.onopen = () => ws.send(JSON.stringify({
    type: 'default', content: userPrompt,
    config: { session_id: sessionId /*, other config… */ }
  }));
  ws.onmessage = (event) => {
    const message = JSON.parse(event.data);
    if (message.type === 'session') {
      sessionId = message.content.session_id;
      localStorage.setItem('sessionId', sessionId);
    } // other types …
  };
}
"""


@pytest.fixture
def static(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "static"
    folder.mkdir()
    monkeypatch.setattr(page.Page.__init__, "__kwdefaults__", {"static": folder})
    return folder


def build(static: Path) -> None:
    (static / "assets").mkdir()
    (static / "index.html").write_text("<!doctype html><script type=module src=/assets/app-1.js></script>")
    (static / "assets" / "app-1.js").write_text("export {}")
    (static / "secret.key").write_text("no type of a page")


async def test_the_page(tmp_path: Path, static: Path) -> None:
    build(static)
    async with serving(tmp_path) as server:
        for path in ("/", "/s/s_0123456789012345678901"):
            answer = await server.http("GET", path)
            assert answer.status == 200 and b"app-1.js" in answer.body
            assert answer.header("cache-control") == "private, no-cache"
            assert answer.header("content-type") == "text/html; charset=utf-8"
        etag = answer.header("etag") or ""
        assert (await server.http("GET", "/", headers={"If-None-Match": etag})).status == 304
        asset = await server.http("GET", "/assets/app-1.js")
        assert asset.header("content-type") == "text/javascript; charset=utf-8"
        assert "immutable" in (asset.header("cache-control") or "")
        head = await server.http("HEAD", "/assets/app-1.js")
        assert (head.status, head.body, head.header("content-length")) == (200, b"", "9")
        for path in (
            "/assets/none.js",
            "/assets/",
            "/secret.key",
            "/../secret.key",
            "/assets/%2e%2e/index.html",
            "/s/a/b",
            "/%00",
            "//etc/passwd",
        ):
            assert (await server.http("GET", path)).status == 404, path


async def test_what_is_large_comes_compressed_to_who_takes_that(tmp_path: Path, static: Path) -> None:
    build(static)
    script = b"export const words = 'again and again'\n" * 100
    (static / "assets" / "app-1.js").write_bytes(script)
    async with serving(tmp_path) as server:
        plain = await server.http("GET", "/assets/app-1.js")
        assert (plain.body, plain.header("content-encoding")) == (script, None)
        for accepted in ("gzip", "br, GZIP;q=0.5", "deflate , gzip ; q=1.0"):
            small = await server.http("GET", "/assets/app-1.js", headers={"Accept-Encoding": accepted})
            assert small.header("content-encoding") == "gzip" and gzip.decompress(small.body) == script, accepted
            assert small.header("content-length") == str(len(small.body)) and len(small.body) < len(script)
            assert small.header("vary") == "accept-encoding" == plain.header("vary")
            assert small.header("etag") != plain.header("etag")
        for accepted in ("gzip;q=0", "gzip;q=0.000, br", "identity", "x-gzip-not"):
            answer = await server.http("GET", "/assets/app-1.js", headers={"Accept-Encoding": accepted})
            assert answer.body == script, accepted
        known = {"Accept-Encoding": "gzip", "If-None-Match": small.header("etag") or ""}
        assert (await server.http("GET", "/assets/app-1.js", headers=known)).status == 304
        known = {"Accept-Encoding": "identity", "If-None-Match": small.header("etag") or ""}
        assert (await server.http("GET", "/assets/app-1.js", headers=known)).body == script
        little = await server.http("GET", "/", headers={"Accept-Encoding": "gzip"})
        assert little.header("content-encoding") is None


async def test_a_page_that_is_built_while_the_server_runs(
    tmp_path: Path, static: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "LOOK_AGAIN", 0.0)
    async with serving(tmp_path) as server:
        answer = await server.http("GET", "/")
        assert answer.status == 503 and b"make setup" in answer.body
        build(static)
        assert (await server.http("GET", "/")).status == 200
        (static / "index.html").write_text("new")
        assert (await server.http("GET", "/")).body == b"new"
        (static / "index.html").unlink()
        assert (await server.http("GET", "/")).status == 503


async def test_the_sample_is_served_unchanged(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        html = (await server.http("GET", "/sample")).body.decode()
        assert (await server.http("GET", "/sample/sample.js")).body.decode() == SAMPLE
        for path in re.findall(r'(?:src|href)="(/[^"]+)"', html):
            assert (await server.http("GET", path)).status == 200, path
        assert not re.search(r"<script(?![^>]*src=)|<style|style=|\son\w+=", html), "its policy allows nothing inline"
        policy = (await server.http("GET", "/sample")).header("content-security-policy") or ""
        assert "script-src 'self'" in policy and "trusted-types dompurify svelte-trusted-html app default" in policy
