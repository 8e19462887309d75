"""The structure of files that are shown: from their grammar, once per content, and never in the way."""

from __future__ import annotations

from codebase import CodeBase
from reconvene.index.workers import Workers

NOISY = '''"""Text that looks like code:

class Styled
    def rendered(self): ...
"""


@decorated
@twice(
    "over",
)
def outer(a,
          b=(1, 2)):
    # what it is for
    def inner():
        return """
def not_this():
"""

    return inner


def last(): pass
'''


async def test_the_exact_lines_of_definitions(code: CodeBase, workers: Workers) -> None:
    code.write("noisy.py", NOISY)
    index = await code.index(workers)
    assert {d.name for d in index.definitions("noisy.py")} > {"not_this", "rendered"}, "the linear tier cannot know"
    found = (await index.syntax(["noisy.py"], within_ms=20_000))["noisy.py"]
    assert found.exact
    shown = [(found.symbol(i), d.first, d.line, d.last) for i, d in enumerate(found.definitions)]
    assert shown == [("outer", 8, 12, 20), ("outer.inner", 14, 15, 18), ("last", 23, 23, 23)]
    assert found.definitions[0].signature == "def outer(a, b=(1, 2)):"
    assert [found.around(n) for n in (1, 9, 16, 20, 21, 23)] == [-1, 0, 1, 0, -1, 2]
    await index.close()
