from reconvene.index.languages.language import NAME, Grammar, Language, Rule, words
from reconvene.index.languages.strings import SLASHES

_MODIFIERS = r"^[ \t]*(?:(?:@\w+(?:\([^)\n]*\))?|[a-z]+(?:\([a-z]+\))?)[ \t]+)*?"

GRAMMAR = Grammar(
    module="tree_sitter_swift",
    definitions="""
        (class_declaration declaration_kind: "extension" name: (_) @name) @impl
        (class_declaration declaration_kind: "struct" name: (_) @name) @struct
        (class_declaration declaration_kind: "enum" name: (_) @name) @enum
        (class_declaration name: (_) @name) @class
        (protocol_declaration name: (_) @name) @interface
        (function_declaration name: (simple_identifier) @name) @function
        (protocol_function_declaration name: (simple_identifier) @name) @function
        (init_declaration "init" @name) @method
        (typealias_declaration name: (type_identifier) @name) @type
        (associatedtype_declaration name: (_) @name) @type
        (source_file (property_declaration name: (pattern bound_identifier: (_) @name)) @constant)
    """,
    quoted="""
        [(comment) (multiline_comment)] @comment
        [(line_str_text) (multi_line_str_text)] @string
    """,
)

LANGUAGE = Language(
    name="swift",
    globs=("*.swift",),
    rules=(
        Rule("function", rf"{_MODIFIERS}func[ \t]+({NAME})[ \t]*[(<]"),
        Rule("class", rf"{_MODIFIERS}(?:class|actor)[ \t]+({NAME})[^(\n]*\{{"),
        Rule("struct", rf"{_MODIFIERS}struct[ \t]+({NAME})"),
        Rule("enum", rf"{_MODIFIERS}enum[ \t]+({NAME})"),
        Rule("interface", rf"{_MODIFIERS}protocol[ \t]+({NAME})"),
        Rule("impl", rf"{_MODIFIERS}extension[ \t]+(?:\w+\.)*({NAME})"),
        Rule("type", rf"{_MODIFIERS}(?:typealias|associatedtype)[ \t]+({NAME})"),
        Rule("method", rf"{_MODIFIERS}(init)[?!]?[ \t]*[(<]"),
        Rule("constant", rf"^(?:[a-z]+(?:\([a-z]+\))?[ \t]+)*?(?:let|var)[ \t]+({NAME})"),
    ),
    not_after=words("return throw case else"),
    strings=SLASHES,
    grammars=(GRAMMAR,),
)
