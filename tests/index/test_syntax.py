"""The structure of files that are shown: from their grammar, once per content, and never in the way."""

from __future__ import annotations

from codebase import CodeBase
from reconvene.index.workers import Workers

NOISY = """/*
function rendered() {
}
*/

/** What is made.
 *  Twice. */
@decorated
export class Outer {
  inner(a,
        b = [1, 2]) {
    return `
function not_this() {
}
`;
  }
}

function last() {}
"""


async def test_the_exact_lines_of_definitions(code: CodeBase, workers: Workers) -> None:
    code.write("noisy.js", NOISY)
    index = await code.index(workers)
    assert {d.name for d in index.definitions("noisy.js")} > {"not_this", "rendered"}, "the linear tier cannot know"
    found = (await index.syntax(["noisy.js"], within_ms=20_000))["noisy.js"]
    assert found.exact
    shown = [(found.symbol(i), d.first, d.line, d.last) for i, d in enumerate(found.definitions)]
    assert shown == [("Outer", 6, 9, 17), ("Outer.inner", 10, 10, 16), ("last", 19, 19, 19)]
    assert [d.signature for d in found.definitions][:2] == ["export class Outer {", "inner(a, b = [1, 2])"]
    assert [found.around(n) for n in (2, 7, 13, 17, 18, 19)] == [-1, 0, 1, 0, -1, 2]
    assert found.quoted.holds(2, 9) and found.quoted.holds(13, 9) and not found.quoted.holds(19, 9)
    await index.close()
