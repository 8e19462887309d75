from reconvene.index.languages.language import NAME, Grammar, Language, Rule
from reconvene.index.languages.strings import SLASHES

_MODIFIERS = r"^[ \t]*(?:(?:@[\w.]+(?:\([^)\n]*\))?|[a-z]+)[ \t]+)*?"

GRAMMAR = Grammar(
    module="tree_sitter_kotlin",
    definitions="""
        (class_declaration "interface" name: (_) @name) @interface
        ((class_declaration (modifiers (class_modifier) @_modifier) name: (_) @name) @enum (#eq? @_modifier "enum"))
        (class_declaration name: (_) @name) @class
        (object_declaration name: (_) @name) @class
        (companion_object name: (_) @name) @class
        (function_declaration name: (_) @name) @function
        (type_alias type: (_) @name) @type
        (source_file (property_declaration (variable_declaration (identifier) @name)) @constant)
        ((property_declaration (modifiers) @_modifiers (variable_declaration (identifier) @name)) @constant
            (#match? @_modifiers "const"))
    """,
    quoted="""
        [(line_comment) (block_comment)] @comment
        (string_content) @string
    """,
)

LANGUAGE = Language(
    name="kotlin",
    globs=("*.kt", "*.kts"),
    rules=(
        Rule("interface", rf"{_MODIFIERS}(?:fun[ \t]+)?interface[ \t]+({NAME})"),
        Rule("enum", rf"{_MODIFIERS}enum[ \t]+class[ \t]+({NAME})"),
        Rule("class", rf"{_MODIFIERS}(?:class|object)[ \t]+({NAME})"),
        Rule("function", rf"{_MODIFIERS}fun[ \t]+(?:<[^\n(]*?>[ \t]+)?(?:[\w.]+(?:<[^\n(]*?>)?\??\.)?({NAME})[ \t]*\("),
        Rule("type", rf"{_MODIFIERS}typealias[ \t]+({NAME})"),
        Rule("constant", rf"^(?:[a-z]+[ \t]+)*?va[lr][ \t]+(?:[\w.]+(?:<[^\n(=]*?>)?\.)?({NAME})"),
        Rule("constant", rf"^[ \t]*(?:[a-z]+[ \t]+)*?const[ \t]+val[ \t]+({NAME})"),
    ),
    strings=SLASHES,
    grammars=(GRAMMAR,),
)
