from reconvene.index.languages.language import NAME, Grammar, Language, Rule, words
from reconvene.index.languages.strings import SLASHES

_MODIFIERS = (
    r"(?:(?:public|private|protected|static|final|abstract|sealed|non-sealed|strictfp|synchronized|native|default)[ \t]+"
    r"|@[\w.]+(?:\([^)\n]*\))?[ \t]+)*"
)
_TYPE = r"[\w.]+(?:<[^\n(=;]*>)?(?:\[\])*"
_PARAMETERS = r"\([^;{}()]*(?:\([^;{}()]*\)[^;{}()]*)*\)"

GRAMMAR = Grammar(
    module="tree_sitter_java",
    definitions="""
        (class_declaration name: (_) @name) @class
        (record_declaration name: (_) @name) @class
        (interface_declaration name: (_) @name) @interface
        (annotation_type_declaration name: (_) @name) @interface
        (enum_declaration name: (_) @name) @enum
        (method_declaration name: (_) @name) @method
        (annotation_type_element_declaration name: (_) @name) @method
        (constructor_declaration name: (_) @name) @method
        (compact_constructor_declaration name: (_) @name) @method
        ((field_declaration (modifiers) @_modifiers declarator: (variable_declarator name: (_) @name)) @constant
            (#match? @_modifiers "static") (#match? @_modifiers "final"))
        (constant_declaration declarator: (variable_declarator name: (_) @name)) @constant
    """,
    quoted="""
        [(line_comment) (block_comment)] @comment
        (string_literal) @string
    """,
)

LANGUAGE = Language(
    name="java",
    globs=("*.java",),
    rules=(
        Rule("class", rf"^[ \t]*{_MODIFIERS}class[ \t]+({NAME})"),
        Rule("interface", rf"^[ \t]*{_MODIFIERS}@?interface[ \t]+({NAME})"),
        Rule("enum", rf"^[ \t]*{_MODIFIERS}enum[ \t]+({NAME})"),
        Rule("class", rf"^[ \t]*{_MODIFIERS}record[ \t]+({NAME})[ \t]*[(<]"),
        Rule(
            "method",
            rf"^[ \t]+{_MODIFIERS}(?:<[^\n(]*>[ \t]+)?{_TYPE}[ \t]+({NAME})[ \t]*{_PARAMETERS}\s*(?:throws\s[\w., \t\r\n]+)?\{{",
        ),
        Rule("method", rf"^[ \t]+{_MODIFIERS}({NAME})[ \t]*{_PARAMETERS}\s*(?:throws\s[\w., \t\r\n]+)?\{{"),
        Rule(
            "method",
            rf"^[ \t]+{_MODIFIERS}(?:<[^\n(]*>[ \t]+)?{_TYPE}[ \t]+({NAME})[ \t]*\([^;{{}}()=.\"]*\)[ \t]*(?:throws[ \t][\w., \t]+)?;",
        ),
        Rule(
            "constant",
            rf"^[ \t]+(?:(?:public|private|protected)[ \t]+)?(?:static[ \t]+final|final[ \t]+static)[ \t]+{_TYPE}[ \t]+({NAME})[ \t]*=",
        ),
    ),
    not_names=words("if for while switch catch super this synchronized try"),
    not_after=words("return new else throw case assert yield"),
    strings=SLASHES,
    grammars=(GRAMMAR,),
)
