from reconvene.index.languages.language import NAME, Grammar, Language, Rule
from reconvene.index.languages.strings import HASH

GRAMMAR = Grammar(
    module="tree_sitter_python",
    definitions="""
        (class_definition name: (identifier) @name) @class
        (function_definition name: (identifier) @name) @function
        (type_alias_statement left: (type) @name) @type
        (module (expression_statement (assignment left: (identifier) @name)) @constant (#match? @name "^[A-Z][A-Za-z0-9_][A-Za-z0-9_]+$"))
    """,
    quoted="(comment) @comment (string_content) @string",
    wraps=frozenset({"decorated_definition"}),
)

LANGUAGE = Language(
    name="python",
    globs=("*.py", "*.pyi", "*.pyx", "*.pxd", "*.pyw"),
    aliases=("cython",),
    rules=(
        Rule("function", rf"^[ \t]*(?:async[ \t]+)?def[ \t]+({NAME})[ \t]*[(\[]"),
        Rule("class", rf"^[ \t]*(?:cdef[ \t]+)?class[ \t]+({NAME})[ \t]*[(:\[]"),
        Rule("type", rf"^type[ \t]+({NAME})[^=\n]*="),
        # Constants, and classes that are made by a call or an assignment: `T = TypeVar("T")`, `Point = namedtuple(…)`.
        Rule("constant", r"^([A-Z]\w{2,})[ \t]*(?::[^=\n]+)?=[^=]"),
        Rule("function", rf"^[ \t]*(?:cpdef|cdef)[ \t][\w \t*\[\],.]*?({NAME})[ \t]*\("),
    ),
    strings=HASH,
    grammars=(GRAMMAR,),
)
