from reconvene.index.languages.language import NAME, Language, Rule

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
)
