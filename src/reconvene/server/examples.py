"""An example of each request and each answer of the HTTP API, for its description. A test sends each of them to a server."""

from __future__ import annotations

import json
from typing import Any

Json = dict[str, Any]
_AT = 1_767_225_600.0
SESSION_ID = "s_3kT9xQ7mZpL2vN8bR5cY1w"
CURSOR = "ZTAxYTJiLjQyLjRmM2EyYjFj"
HASH = "8c7e5a667f1b771847fe88c01c3de34413a1b220"
ROOT = "/home/me/shop"
_INDEX = {
    "root": ROOT, "name": "shop", "phase": "ready", "files": 412, "symbols": 5120, "done": 0, "of": 0, "partial": False,
    "verified": True, "truncated": False, "skipped": 0, "watching": "events", "folders": 61, "notes": [],
    "sentence": "412 files, 5,120 symbols.",
}  # fmt: skip
_STAY = {"reason": "idle", "left": 2_592_000.0, "sentence": "Kept for 30 days after its last use."}
_SESSION = {
    "session_id": SESSION_ID, "title": "How are prices rounded?", "root": ROOT, "status": "idle", "run_id": None, "pinned": False,
    "archived": False, "head": 42, "created_at": _AT, "active_at": _AT + 60, "cursor": CURSOR, "pending": 0, "stay": _STAY,
}  # fmt: skip
_MODEL = {
    "model": "offline", "fallback": None, "daily_cap": 5.0, "spent_today": 0.12,
    "providers": [{"provider": "anthropic", "key": True, "base_url": None}],
}  # fmt: skip
_USER = {
    "id": "u_1", "name": "ada", "created_at": _AT, "disabled": False, "account": None, "sessions": 3, "running": 0, "waiting": 1,
    "bytes": 81_920, "connections": 1,
}  # fmt: skip
_VIEW = {"id": "v_1", "created_at": _AT, "left": 604_800.0}
_EVENT = {
    "type": "prompt", "seq": 1, "run_id": "r1", "item_id": None, "parent_id": None, "at": _AT,
    "content": {"id": "0199b2c0-6f6e-7c60-8d1f-1c2f3a4b5c6d", "text": "How are prices rounded?", "delivery": "queue"},
}  # fmt: skip
_LINE = json.dumps(_EVENT, separators=(",", ":"))
_PLACE = {"path": "src/price.py", "start": 12, "end": 14, "symbol": "round_price"}
_FILE = {"size": 2048, "text": "def round_price(price):\n    …", "truncated": False}

EXAMPLES: dict[str, Json] = {
    "GET /api/me": {"answer": {
        "owner": "local", "name": "ada", "role": "owner", "views": [], "version": "0.1.0", "boot": "1f2e3d4c",
        "roots": [{"root": ROOT, "name": "shop"}], "model": "offline", "sample": True,
    }},
    "GET /api/roots": {"answer": {"roots": [{"root": ROOT, "name": "shop"}], "elsewhere": []}},
    "POST /api/roots": {"body": {"path": ROOT}, "answer": {"root": ROOT, "name": "shop"}},
    "GET /api/model": {"answer": _MODEL},
    "PATCH /api/model": {"body": {"model": "offline", "daily_cap": 5.0}, "answer": _MODEL},
    "GET /api/indexes": {"answer": {"indexes": [_INDEX]}},
    "POST /api/indexes": {"body": {"root": "shop", "do": "refresh"}, "answer": _INDEX},
    "POST /api/sign-in-links": {
        "body": {}, "answer": {"url": "http://localhost:8000/sign-in?t=4mV8…"}
    },
    "POST /api/sign-out": {"body": {"everywhere": False}},
    "POST /api/stop": {"body": {"restart": False}, "answer": {"status": "stopping"}},
    "GET /api/protocol.json": {},
    "GET /api/users": {"answer": {"users": [_USER]}},
    "POST /api/users": {"body": {"name": "ada"}, "answer": {**_USER, "token": "rc_u_1_wZk…"}},
    "PATCH /api/users/{name}": {"path": {"name": "ada"}, "body": {"disabled": True}, "answer": {**_USER, "disabled": True}},
    "POST /api/users/{name}/token": {"path": {"name": "ada"}, "answer": {**_USER, "token": "rc_u_1_Qm3…"}},
    "GET /api/audit": {
        "query": {"limit": 50},
        "answer": {"entries": [{"at": _AT, "deed": "user_added", "by": "owner", "peer": "127.0.0.1", "about": {"user": "ada"}}]},
    },
    "GET /api/sessions/{session_id}/links": {"answer": {"links": [_VIEW]}},
    "POST /api/sessions/{session_id}/links": {
        "body": {"days": 7}, "answer": {**_VIEW, "url": f"http://localhost:8000/s/{SESSION_ID}?v=…"}
    },
    "DELETE /api/sessions/{session_id}/links/{id}": {"path": {"id": "v_1"}},
    "GET /api/sessions/search": {
        "query": {"q": "prices rounded", "limit": 20},
        "answer": {
            "sessions": [{
                "session_id": SESSION_ID, "more": False,
                "hits": [{"seq": 1, "kind": "prompt", "at": _AT, "pieces": ["How are ", "prices", " ", "rounded", "?"]}],
            }],
            "searched": 12, "of": 12,
        },
    },
    "GET /api/sessions/{session_id}/export": {
        "query": {"format": "markdown"},
        "text": {
            "application/x-ndjson": f"{_LINE}\n",
            "text/markdown": "# How are prices rounded?\n\n> How are prices rounded?\n\nTo two places: `src/price.py:12`.\n",
            "text/html": "<!doctype html><html lang=\"en\"><title>How are prices rounded?</title>…</html>\n",
        },
    },
    "GET /api/sessions": {"query": {"archived": False, "limit": 50}, "answer": {"sessions": [_SESSION], "next": None}},
    "POST /api/sessions": {"body": {"root_directory": "shop", "title": "Prices"}, "answer": {**_SESSION, "title": "Prices"}},
    "GET /api/sessions/{session_id}": {"answer": _SESSION},
    "PATCH /api/sessions/{session_id}": {
        "body": {"title": "Rounding", "pinned": True}, "answer": {**_SESSION, "title": "Rounding", "pinned": True}
    },
    "DELETE /api/sessions/{session_id}": {},
    "POST /api/sessions/{session_id}/messages": {
        "body": {"type": "default", "id": "0199b2c0-6f6e-7c60-8d1f-1c2f3a4b5c6d", "content": "How are prices rounded?"},
        "answer": {"status": "accepted", "seq": 1, "run_id": "r1", "session_id": SESSION_ID},
    },
    "GET /api/sessions/{session_id}/events": {
        "query": {"after": "0", "limit": 500},
        "answer": {"epoch": "e01a2b", "head": 42, "events": [_EVENT], "next": CURSOR, "snapshot": None},
        "text": {"text/event-stream": f"id: {CURSOR}\nevent: prompt\ndata: {_LINE}\n\n"},
    },
    "GET /api/sessions/{session_id}/blobs/{hash}": {"path": {"hash": HASH}, "answer": {"hash": HASH, **_FILE}},
    "GET /api/sessions/{session_id}/file": {
        "query": {"path": "src/price.py"}, "answer": {"path": "src/price.py", "hash": HASH, **_FILE}
    },
    "GET /api/sessions/{session_id}/patch": {
        "text": {
            "text/x-diff": "--- a/src/price.py\n+++ b/src/price.py\n@@ -13 +13 @@\n-    return round(price)\n+    return round(price, 2)\n"
        }
    },
    "POST /api/sessions/{session_id}/fork": {"body": {"upto": 1}, "answer": {**_SESSION, "title": "How are prices rounded? (fork)"}},
    "GET /api/code": {
        "query": {"root": "shop"},
        "answer": {
            "root": ROOT, "name": "shop", "files": 412, "symbols": 5120, "languages": [{"name": "Python", "files": 380}],
            "folders": [{"name": "src", "files": 300}], "questions": ["How are prices rounded?"], "epoch": 7, "index": _INDEX,
        },
    },
    "GET /api/code/map": {
        "query": {"root": "shop", "tokens": 1024, "query": "rounding"},
        "answer": {
            "rows": [{
                "path": "src/price.py", "line": 12, "name": "round_price", "kind": "function", "score": 1.0,
                "why": ["used in 9 files"], "used": 9, "seen": False,
            }],
            "files": 412, "symbols": 5120, "tokens": 1010, "epoch": 7, "partial": False, "text": None, "next": None, "moved": False,
        },
    },
    "GET /api/code/search": {
        "query": {"q": "rounding of prices", "root": "shop", "limit": 5},
        "answer": {
            "places": [{**_PLACE, "score": 3.2, "text": "def round_price(price):", "why": ["name: round price"]}],
            "total": 4, "truncated": False, "partial": False, "further": ["src/cart.py"], "next": None, "moved": False,
        },
    },
    "GET /api/code/files": {
        "query": {"root": "shop", "most": 100},
        "answer": {
            "files": [{"path": "src/price.py", "score": 1.0, "words": 640, "language": "python", "role": "code", "seen": True}],
            "others": 411, "epoch": 7,
        },
    },
    "GET /api/code/symbol": {
        "query": {"name": "round_price", "root": "shop"},
        "answer": {
            "name": "round_price", "definitions": [{**_PLACE, "text": "def round_price(price):"}],
            "uses": [{"path": "src/cart.py", "line": 40, "text": "total = round_price(sum)", "symbol": "Cart.total"}],
            "files": 9, "truncated": False,
        },
    },
    "GET /api/code/names": {
        "query": {"q": "round", "root": "shop", "limit": 10},
        "answer": {
            "items": [{"kind": "symbol", "path": "src/price.py", "name": "round_price", "line": 12, "symbol_kind": "function"}],
            "partial": False, "epoch": 7,
        },
    },
}  # fmt: skip
PROBLEM = {
    "type": "about:blank", "title": "Not Found", "status": 404, "code": "no_such_session",
    "detail": "There is no session with this id; it may have expired.", "retryable": False, "details": {},
}  # fmt: skip


def as_text(*media: str) -> Json:
    """The description of an answer that is no JSON."""
    return {"content": {kind: {"schema": {"type": "string"}} for kind in media}}


def with_examples(described: Json) -> None:
    """Put them where OpenAPI wants them: at parameters, bodies and answers."""
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            example = EXAMPLES.get(f"{method.upper()} {path}", {})
            given = {"session_id": SESSION_ID, **example.get("path", {}), **example.get("query", {})}
            for parameter in operation.get("parameters", ()):
                if parameter["name"] in given:
                    parameter["example"] = given[parameter["name"]]
            if "body" in example:
                operation["requestBody"]["content"]["application/json"]["example"] = example["body"]
            for status, response in operation["responses"].items():
                content = response.get("content", {})
                if status == "default":
                    # What is refused is a problem, and says so.
                    response["content"] = {
                        "application/problem+json": {**content["application/json"], "example": PROBLEM}
                    }
                    continue
                shown = {**example.get("text", {})}
                if "answer" in example:
                    shown["application/json"] = example["answer"]
                for media in shown.keys() & content.keys() if status.startswith("2") else ():
                    content[media]["example"] = shown[media]
