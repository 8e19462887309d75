"""A small code base on disk with its index, for the tests of index, search and map."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

from reconvene.config import Limits
from reconvene.index import RootIndex
from reconvene.index.workers import Workers
from reconvene.workspace import Workspace

FILES = {
    "README.md": "# Shop\n\nA small shop. See [the docs](docs/guide.md).\n\n## Running\n\nRun `make run`.\n",
    "shop/__init__.py": "",
    "shop/cart.py": '''"""The cart of a visitor."""

from shop.money import Money


class Cart:
    """Holds items until they are paid for."""

    def __init__(self, owner):
        self.owner = owner
        self.items = []

    def add_item(self, item, quantity=1):
        """Put an item into the cart."""
        if quantity < 1:
            raise ValueError("quantity must be positive")
        self.items.append((item, quantity))

    def total_price(self):
        """What all items cost together, discounts included."""
        return sum((item.price * n for item, n in self.items), Money(0))


def expire_old_carts(carts, now):
    """Drop carts whose visitor went away."""
    return [cart for cart in carts if now - cart.touched < 3600]
''',
    "shop/money.py": '''"""Amounts of money, exact to the cent."""

DEFAULT_CURRENCY = "EUR"


class Money:
    def __init__(self, cents, currency=DEFAULT_CURRENCY):
        self.cents = cents
        self.currency = currency

    def __add__(self, other):
        return Money(self.cents + other.cents, self.currency)


def parse_amount(text):
    """Read "12.50" as 1250 cents."""
    whole, _, part = text.partition(".")
    return Money(int(whole) * 100 + int((part + "00")[:2]))
''',
    "shop/session_store.py": '''"""Where sessions are kept between two requests of a visitor."""


class SessionStore:
    def __init__(self):
        self.sessions = {}

    def load_session(self, key):
        return self.sessions.get(key)

    def sweep_expired(self, now):
        """Forget sessions that are idle for too long."""
        self.sessions = {k: s for k, s in self.sessions.items() if now - s.touched < 3600}
''',
    "tests/test_cart.py": """from shop.cart import Cart


def test_add_item():
    cart = Cart("ann")
    cart.add_item("book")
    assert cart.items == [("book", 1)]
""",
    "docs/guide.md": """# Guide

## The cart

Items are put into the cart with `add_item`.

## Sessions

Sessions expire after an hour.
""",
    "web/app.js": """export function renderCart(cart) {
  return cart.items.map(renderItem);
}

function renderItem(item) {
  return item.name;
}
""",
}


class CodeBase:
    """Files below `root`; `index` opens the index of them, with its store in `data`."""

    def __init__(self, folder: Path, files: dict[str, str] | None = None) -> None:
        self.root = folder / "project"
        self.data = folder / "data"
        self.root.mkdir(parents=True)
        self.data.mkdir(mode=0o700)
        for path, text in (FILES if files is None else files).items():
            self.write(path, text)

    def write(self, path: str, text: str | bytes) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.encode() if isinstance(text, str) else text)

    def remove(self, path: str) -> None:
        (self.root / path).unlink()

    def age(self, seconds: int = 60) -> None:
        """Make all files look as if they were written a while ago."""
        for folder, _, names in os.walk(self.root):
            for name in names:
                st = os.stat(f"{folder}/{name}")
                os.utime(f"{folder}/{name}", ns=(st.st_atime_ns, st.st_mtime_ns - seconds * 10**9))

    def workspace(self, limits: Limits | None = None) -> Workspace:
        return Workspace.open(self.root, data_dir=self.data, limits=limits or Limits())

    async def index(self, workers: Workers | None = None, *, fresh: bool = True, **limits: Any) -> RootIndex:
        """`fresh`: with everything read already."""
        made = Limits(**limits)
        index = await RootIndex.open(self.workspace(made), self.data, made, workers)
        if fresh:
            await index.refresh()
        return index


class Repository(CodeBase):
    """A code base in a git repository."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.git("init", "-q", "-b", "main")
        self.commit("Begin")

    def git(self, *args: str) -> str:
        who = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
        env = {"PATH": "/usr/bin:/bin", "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null"}
        done = subprocess.run(["git", *who, *args], cwd=self.root, env=env, check=True, capture_output=True, text=True)
        return done.stdout

    def commit(self, message: str) -> None:
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
