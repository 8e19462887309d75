from reconvene.index.languages import cpp
from reconvene.index.languages.cpp import DEFINE, DEFINITIONS, NOT_AFTER, NOT_NAMES, PARAMETERS, QUOTED
from reconvene.index.languages.language import NAME, Grammar, Language, Rule

GRAMMAR = Grammar(
    module="tree_sitter_c",
    definitions=DEFINITIONS
    + """
        ((function_definition declarator: (function_declarator declarator: (identifier) @name)) @function
            (#not-match? @name "^[A-Z][A-Z0-9_]+$"))
        (function_definition declarator: (_ declarator: (function_declarator declarator: (identifier) @name))) @function
        (function_definition declarator: (_ declarator: (_ declarator: (function_declarator declarator: (identifier) @name)))) @function
    """,
    quoted=QUOTED,
)

LANGUAGE = Language(
    name="c",
    globs=("*.c", "*.h"),
    rules=(
        DEFINE,
        Rule("struct", rf"^[ \t]*(?:typedef[ \t]+)?(?:struct|union)[ \t]+({NAME})[^;(){{}}=\n]*\s\{{"),
        Rule("enum", rf"^[ \t]*(?:typedef[ \t]+)?enum[ \t]+({NAME})[ \t]*\s\{{"),
        Rule("type", rf"^\}}[ \t]*(?:__\w+[ \t]+)?({NAME})[ \t]*;"),
        Rule("type", rf"^typedef\b[^;{{}}()]*?({NAME})[ \t]*;"),
        Rule("type", rf"^typedef\b[^;{{}}()]*\(\*[ \t]*({NAME})\)"),
        Rule("function", rf"^[A-Za-z_][\w \t*]*[ \t*\n]({NAME})[ \t]*{PARAMETERS}[^;{{}}()=]*\{{"),
    ),
    not_names=NOT_NAMES,
    not_after=NOT_AFTER - {"typedef"},
    instead=((b"\nclass ", b"\nnamespace ", b"\ntemplate <", b"\ntemplate<"), cpp.LANGUAGE),
    grammars=(GRAMMAR, cpp.GRAMMAR),
)
