from reconvene.index.languages.language import NAME, Grammar, Language, Rule, words

PARAMETERS = r"\([^;{}()]*(?:\([^;{}()]*\)[^;{}()]*)*\)"
DEFINE = Rule("macro", rf"^[ \t]*#[ \t]*define[ \t]+({NAME})")
NOT_NAMES = words("if for while switch catch return sizeof defined do else __attribute__")
NOT_AFTER = words("return else if do while for switch case typedef throw new goto using delete")

_DEFINITIONS = """
    (preproc_def name: (_) @name) @macro
    (preproc_function_def name: (_) @name) @macro
    (struct_specifier name: (_) @name body: (_)) @struct
    (union_specifier name: (_) @name body: (_)) @struct
    (enum_specifier name: (_) @name body: (_)) @enum
    (type_definition declarator: [
        (type_identifier) @name
        (pointer_declarator declarator: (type_identifier) @name)
        (function_declarator declarator: (parenthesized_declarator (pointer_declarator declarator: (type_identifier) @name)))
        (array_declarator declarator: (type_identifier) @name)
    ]) @type
"""
QUOTED = """
    (comment) @comment
    [(string_literal) (system_lib_string)] @string
    [(preproc_arg) (preproc_call)] @opaque
"""

GRAMMAR = Grammar(
    module="tree_sitter_c",
    definitions=_DEFINITIONS
    + """
        (function_definition declarator: (function_declarator declarator: (identifier) @name)) @function
        (function_definition declarator: (_ declarator: (function_declarator declarator: (identifier) @name))) @function
        (function_definition declarator: (_ declarator: (_ declarator: (function_declarator declarator: (identifier) @name)))) @function
    """,
    quoted=QUOTED,
)
CPP = Grammar(
    module="tree_sitter_cpp",
    definitions=_DEFINITIONS
    + """
        (class_specifier name: (_) @name body: (_)) @class
        (namespace_definition name: (_) @name) @module
        (alias_declaration name: (_) @name) @type
        (concept_definition name: (_) @name) @type
        (function_definition declarator: (function_declarator declarator: (qualified_identifier) @name)) @method
        (function_definition declarator: (_ (function_declarator declarator: (qualified_identifier) @name))) @method
        (function_definition declarator: (function_declarator declarator: (_) @name)) @function
        (function_definition declarator: (_ (function_declarator declarator: (_) @name))) @function
        (function_definition declarator: (_ (_ (function_declarator declarator: (_) @name)))) @function
        (function_definition declarator: (operator_cast) @name) @function
    """,
    quoted=QUOTED + "(raw_string_literal) @string",
    wraps=frozenset({"template_declaration"}),
)
"""For files of C++, and for headers that turn out to be."""

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
    grammars=(GRAMMAR, CPP),
)
