from reconvene.index.languages.language import NAME, Grammar, Language, Rule
from reconvene.index.languages.strings import SLASHES

_MODIFIERS = r"^[ \t]*(?:(?:@\w+(?:\([^)\n]*\))?|[a-z]+(?:\[\w+\])?)[ \t]+)*?"

GRAMMAR = Grammar(
    module="tree_sitter_scala",
    definitions="""
        (function_definition name: (_) @name) @function
        (function_declaration name: (_) @name) @function
        (class_definition name: (_) @name) @class
        (object_definition name: (_) @name) @class
        (package_object name: (_) @name) @class
        (trait_definition name: (_) @name) @interface
        (enum_definition name: (_) @name) @enum
        (type_definition name: (_) @name) @type
        ((val_definition pattern: (identifier) @name) @constant (#match? @name "^[A-Z]"))
    """,
    quoted="""
        [(comment) (block_comment)] @comment
        (string) @string
    """,
)

LANGUAGE = Language(
    name="scala",
    globs=("*.scala", "*.sc", "*.sbt"),
    rules=(
        Rule("function", rf"{_MODIFIERS}def[ \t]+({NAME})"),
        Rule("class", rf"{_MODIFIERS}(?:class|object)[ \t]+({NAME})"),
        Rule("interface", rf"{_MODIFIERS}trait[ \t]+({NAME})"),
        Rule("enum", rf"{_MODIFIERS}enum[ \t]+({NAME})"),
        Rule("type", rf"{_MODIFIERS}type[ \t]+({NAME})"),
        Rule("constant", r"^[ \t]*(?:[a-z]+[ \t]+)*?val[ \t]+([A-Z]\w*)"),
    ),
    strings=SLASHES,
    grammars=(GRAMMAR,),
)
