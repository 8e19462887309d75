from reconvene.index.languages.language import NAME, Grammar, Language, Rule

_MODIFIERS = r"^[ \t]*(?:(?:abstract|final|readonly|public|private|protected|static)[ \t]+)*"

GRAMMAR = Grammar(
    module="tree_sitter_php",
    function="language_php",
    definitions="""
        (class_declaration name: (_) @name) @class
        (trait_declaration name: (_) @name) @class
        (interface_declaration name: (_) @name) @interface
        (enum_declaration name: (_) @name) @enum
        (function_definition name: (_) @name) @function
        (method_declaration name: (_) @name) @method
        (const_element . (name) @name) @constant
        ((function_call_expression
            function: (name) @_define
            arguments: (arguments . (argument [(string (string_content) @name) (encapsed_string (string_content) @name)]))) @constant
            (#eq? @_define "define"))
    """,
    quoted="""
        (comment) @comment
        [(string_content) (heredoc_body) (nowdoc_body) (text)] @string
        (attribute_list) @over
    """,
)

LANGUAGE = Language(
    name="php",
    globs=("*.php", "*.phtml", "*.inc"),
    rules=(
        Rule("class", rf"{_MODIFIERS}class[ \t]+({NAME})"),
        Rule("interface", rf"^[ \t]*interface[ \t]+({NAME})"),
        Rule("class", rf"^[ \t]*trait[ \t]+({NAME})"),
        Rule("enum", rf"^[ \t]*enum[ \t]+({NAME})[ \t]*(?::[^{{\n]*)?\s*\{{"),
        Rule("function", rf"{_MODIFIERS}function[ \t]+&?[ \t]*({NAME})[ \t]*\("),
        Rule("constant", rf"{_MODIFIERS}const[ \t]+(?:\w+[ \t]+)?({NAME})[ \t]*="),
        Rule("constant", rf"^[ \t]*define\([ \t]*['\"]({NAME})['\"]"),
    ),
    grammars=(GRAMMAR,),
)
