"""Swap a folder and a file for links to the outside, as fast as it goes, until standard input ends: `python swapper.py ROOT`.

A process of its own: what it attacks does not wait for the same interpreter.
"""

from __future__ import annotations

import ctypes
import os
import select
import sys

RENAMEAT2 = {"x86_64": 316, "aarch64": 276}
EXCHANGE = 2


def main() -> None:
    root = os.fsencode(sys.argv[1])
    libc = ctypes.CDLL(None, use_errno=True)
    number = RENAMEAT2[os.uname().machine]
    here = os.open(root, os.O_RDONLY)
    pairs = [(b"d", b"link-d"), (b"e/f", b"e/link-f"), (b"deep/er", b"deep/link-er")]

    def exchange(a: bytes, b: bytes) -> None:
        if libc.syscall(number, here, a, here, b, EXCHANGE) != 0:
            raise OSError(ctypes.get_errno(), os.fsdecode(a))

    print("ready", flush=True)
    rounds = 0
    while True:
        for _ in range(500):
            for a, b in pairs:
                exchange(a, b)
        rounds += 500
        if select.select([0], [], [], 0)[0]:
            break
    print(rounds * len(pairs), flush=True)


if __name__ == "__main__":
    main()
