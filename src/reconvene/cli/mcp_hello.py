"""What `reconvene mcp` answers itself: `server/discover`, at once, while the server behind it may still have to be started.

A client takes an answer that does not come within its patience (10 s in the Python library) for a server of the old era, and speaks that
from then on. What there is to say is known before any server runs; a test compares it with what one says.
"""

from __future__ import annotations

from reconvene.cli.jsonrpc import Message

VERSION = "io.modelcontextprotocol/protocolVersion"
"""In `_meta` of a request of the era without handshakes: its version."""
ERA = "2026-07-28"
INSTRUCTIONS = """\
Reconvene knows one or more code bases: search, repo_map, symbol and read_file look at them, cheaply and in pages. ask gives a whole
question or task to its agent, in a session that survives crashes: if the answer is not there yet, call ask again with the session_id."""
"""As in `reconvene.adapters.mcp.endpoint`, which would have to import the library."""
_ABLE = {
    "extensions": {"io.modelcontextprotocol/tasks": {}},
    "prompts": {"listChanged": True},
    "resources": {"listChanged": True, "subscribe": True},
    "tools": {"listChanged": True},
}


def version_of(message: Message) -> str | None:
    """The version that a request names in its `_meta`."""
    said = ((message.get("params") or {}).get("_meta") or {}).get(VERSION)
    return said if isinstance(said, str) else None


def hello(message: Message) -> Message | None:
    """The answer to a greeting of the era that is known here; None for everything else, which the server answers."""
    if message.get("method") != "server/discover" or version_of(message) != ERA:
        return None
    from reconvene import __version__

    result = {
        "cacheScope": "private",
        "capabilities": _ABLE,
        "instructions": INSTRUCTIONS,
        "resultType": "complete",
        "supportedVersions": [ERA],
        "ttlMs": 0,
        "_meta": {
            "io.modelcontextprotocol/serverInfo": {"name": "reconvene", "title": "Reconvene", "version": __version__}
        },
    }
    return {"jsonrpc": "2.0", "id": message["id"], "result": result}
