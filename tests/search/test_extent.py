"""Where definitions begin and end by the look of their lines, against what their grammar says."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconvene.index.definitions import Definition, find, last_name, qualified, unpack
from reconvene.index.languages.registry import language_of
from reconvene.index.syntax.parsing import outline
from reconvene.search.extent import Extents
from reconvene.search.source import Source

ROOT = Path(__file__).parents[2] / "src"
CASES = {
    "a.py": '''
@decorated(
    "over",
    lines=3,
)
def first():
    text = """
class Hidden:
no indentation
"""
    return text

LIMIT = 3

# of the next one
class Last:
    one: int

    def method(self, a,
               b): pass
    # at its end

x = 1
''',
    "a.js": """
const limit = 3

/**
 * Of the next.
 */
function first(a,
  b) {
  if (a) {
  }
  else {
  }
}

class Small {
  one() { return 1 }
}

const list = [
  1,
]
""",
    "a.c": """
#define MAX(a, b) \\
    ((a) > (b) ? (a) : (b))

#ifdef X
/* Makes one. */
static struct node *
make_node(int x)
{
#ifdef Y
    goto out;
#endif
out:
    return 0;
}
#endif

typedef struct {
    int y;
} list_t;

struct other
{
    int z;
};
""",
    "A.java": """
/** Of it. */
@Deprecated
public class A
    extends B {
  static final int MAX = 3;

  @Override
  public int one() { return 1; }

  abstract int last();
}
""",
    "a.rb": "\n# Of it.\nclass A\n  LIMIT = 3\n\n  def one(a)\n    a.each do |x|\n    end\n  end\nend\n",
    "a.go": "package a\n\n// New makes one.\nfunc New(\n\tn int,\n) *Server {\n\treturn nil\n}\n\ntype A struct {\n\tb int\n}\n",
    "a.php": "<?php\ninterface A\n{\n    public function one();\n}\n\nfunction two(\n    $a,\n) {\n}\n",
    "a.toml": "[tool.a]\nb = 1\n\n[c]\nd = [\n  1,\n]\n",
    "a.html": '<main id="a">\n  <p id="b">\n  </p>\n</main>\n<p id="c"></p>\n',
}


def extents(
    path: str, text: str
) -> tuple[dict[tuple[int, str], tuple[int, int]], dict[tuple[int, str], tuple[int, int]]]:
    """First and last line of each definition, by the look of it and by its grammar; those that both tiers find."""
    language = language_of(path)
    guessed = find(text.encode(), language)
    by_look = Extents(Source(text.removesuffix("\n").encode()), guessed)
    look = {(d.line, last_name(d.name)): by_look.of(i) for i, d in enumerate(guessed)}
    exact = {
        (d.line, last_name(d.name)): (d.first, d.last) for d in unpack(outline(text.encode(), language).definitions)
    }
    return {key: look[key] for key in look if key in exact}, {key: exact[key] for key in look if key in exact}


@pytest.mark.parametrize("path", CASES)
def test_both_see_the_same(path: str) -> None:
    look, exact = extents(path, CASES[path])
    assert look and look == exact


def test_of_this_repository_nearly_all(capsys: pytest.CaptureFixture[str]) -> None:
    same = seen = 0
    for file in sorted(ROOT.rglob("*.py")):
        look, exact = extents(str(file), file.read_text())
        seen += len(exact)
        same += sum(look[key] == exact[key] for key in exact)
    with capsys.disabled():
        print(f"\nextents by their look: {same} of {seen} as the grammar has them ({same / seen:.3f})", end="")
    assert seen > 1000 and same >= 0.99 * seen


def test_what_the_grammar_said_counts() -> None:
    lines = ["one", "two {", "three", "}"]
    known = [Definition("a", "class", 2, 0, -1, "two {", 1, 4), Definition("b", "method", 3, 0, 0, "three", 3, 3)]
    made = Extents(Source.of_lines(lines), known)
    assert [made.of(0), made.of(1)] == [(1, 4), (3, 3)]
    assert [made.around(n) for n in (1, 2, 3, 4)] == [0, 0, 1, 0]
    assert qualified(known, 1) == "a.b"


@pytest.mark.parametrize(
    "text", ["", "\n", "}" * 9, "def a():", "class A:\n" * 50, '"""' * 5, "def a():\n" + " " * 9999]
)
def test_odd_files_have_bounded_extents(text: str) -> None:
    lines = text.split("\n")
    definitions = find(text.encode(), language_of("a.py"))
    made = Extents(Source.of_lines(lines), definitions)
    for i, d in enumerate(definitions):
        first, last = made.of(i)
        assert 1 <= first <= d.line <= last <= len(lines)
    assert all(-1 <= made.around(n) < len(definitions) for n in range(1, len(lines) + 1))


def test_a_stretch_is_of_lines_that_are_all_of_the_same_definition() -> None:
    for path, text in CASES.items():
        lines = text.split("\n")
        made = Extents(Source.of_lines(lines), find(text.encode(), language_of(path)))
        for line in range(1, len(lines) + 1):
            innermost, upto = made.stretch(line)
            assert line <= upto <= len(lines)
            assert {Extents(Source.of_lines(lines), made.definitions).around(n) for n in range(line, upto + 1)} == {
                innermost
            }
