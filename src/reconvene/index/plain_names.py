"""The name of a file as people use it, whatever a language makes of it: `shopping_cart.py` and `ShoppingCart.java` are both of a
shopping cart."""

from __future__ import annotations

from zlib import crc32

_DROPPED = str.maketrans("", "", "_-")


def stem(path: str) -> str:
    """A file's name up to its first dot.

    >>> stem("src/cart.spec.ts"), stem(".github/.eslintrc.json")
    ('cart', 'eslintrc')
    """
    return path.rpartition("/")[2].lstrip(".").partition(".")[0]


def plain(name: str) -> str:
    """In small letters, without what parts words.

    >>> plain("Shopping_Cart")
    'shoppingcart'
    """
    return name.lower().translate(_DROPPED)


def number(name: str) -> int:
    """What a plain name is found by."""
    return crc32(name.encode("utf-8", "surrogatepass"))


NOTHING = number("")
"""Of no name: that of `_.js`, say."""
