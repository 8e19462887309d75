from reconvene.index.languages.language import NAME, Grammar, Language, Rule, words

PARAMETERS = r"\([^;{}()]*(?:\([^;{}()]*\)[^;{}()]*)*\)"
DEFINE = Rule("macro", rf"^[ \t]*#[ \t]*define[ \t]+({NAME})")
NOT_NAMES = words("if for while switch catch return sizeof defined do else __attribute__")
NOT_AFTER = words("return else if do while for switch case typedef throw new goto using delete")

_BEFORE = r"^[ \t]*(?:template[ \t]*<[^\n]*>[ \t]*)?"
_BASES = r"(?:\n[ \t]*:[^;(){}=]*)?"
_ATTRIBUTES = r"(?:\[\[[^\]\n]*\]\][ \t]*|__\w+(?:\([^\n]*\))?[ \t]+|alignas\([^)\n]*\)[ \t]*|[A-Z][A-Z0-9_]+[ \t]+)*"

DEFINITIONS = """
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
    module="tree_sitter_cpp",
    definitions=DEFINITIONS
    + """
        (class_specifier name: (_) @name body: (_)) @class
        ; `class EXPORTED Name {` is taken for a function with a class's type.
        (function_definition type: (class_specifier) declarator: (identifier) @name) @class
        (function_definition type: (struct_specifier) declarator: (identifier) @name) @struct
        (namespace_definition name: (_) @name) @module
        (alias_declaration name: (_) @name) @type
        (concept_definition name: (_) @name) @type
        (function_definition declarator: (function_declarator declarator: (qualified_identifier) @name)) @method
        (function_definition declarator: (_ (function_declarator declarator: (qualified_identifier) @name))) @method
        ((function_definition declarator: (function_declarator declarator: (_) @name)) @function
            (#not-match? @name "^[A-Z][A-Z0-9_]+$"))
        (function_definition declarator: (_ (function_declarator declarator: (_) @name))) @function
        (function_definition declarator: (_ (_ (function_declarator declarator: (_) @name)))) @function
        (function_definition declarator: (operator_cast) @name) @function
    """,
    quoted=QUOTED + "(raw_string_literal) @string",
    wraps=frozenset({"template_declaration"}),
)

LANGUAGE = Language(
    name="cpp",
    globs=("*.cc", "*.cpp", "*.cxx", "*.hpp", "*.hh", "*.hxx", "*.ipp", "*.inl", "*.cu", "*.cuh", "*.mm"),
    aliases=("c++",),
    rules=(
        DEFINE,
        Rule("class", rf"{_BEFORE}class[ \t]+{_ATTRIBUTES}({NAME})[^;(){{}}=\n]*{_BASES}\s*\{{"),
        Rule(
            "struct",
            rf"{_BEFORE}(?:typedef[ \t]+)?(?:struct|union)[ \t]+{_ATTRIBUTES}({NAME})[^;(){{}}=\n]*{_BASES}\s*\{{",
        ),
        Rule("enum", rf"^[ \t]*(?:typedef[ \t]+)?enum[ \t]+(?:(?:class|struct)[ \t]+)?({NAME})[^;()={{}}\n]*\s*\{{"),
        Rule("module", rf"^[ \t]*(?:inline[ \t]+)?namespace[ \t]+(?:\w+::)*({NAME})[ \t]*\s*\{{"),
        Rule("type", rf"{_BEFORE}(?:using[ \t]+({NAME})[ \t]*=)"),
        Rule("type", rf"{_BEFORE}concept[ \t]+({NAME})[ \t]*="),
        Rule("type", rf"^\}}[ \t]*({NAME})[ \t]*;"),
        # A definition of a member outside of its class, constructors and destructors with it.
        Rule(
            "method",
            rf"^[\w:<>,*& \t\n]*?(?:\w+(?:<[^\n()]*>)?::)+(~?{NAME})[ \t]*{PARAMETERS}[^;{{}}()=]*(?::[^;{{}}]*)?\{{",
        ),
        Rule("function", rf"^[ \t]*[A-Za-z_][\w:<>,*& \t]*[ \t*&\n]({NAME})[ \t]*{PARAMETERS}[^;{{}}()=]*\{{"),
        Rule(
            "method",
            rf"^[ \t]+(?:explicit[ \t]+|virtual[ \t]+)?(~?{NAME})[ \t]*{PARAMETERS}[^;{{}}()=]*(?::[^;:{{}}][^;{{}}]*)?\{{",
        ),
    ),
    not_names=NOT_NAMES,
    not_after=NOT_AFTER - {"typedef", "using"},
    grammars=(GRAMMAR,),
)
