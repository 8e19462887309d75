from dataclasses import replace

from reconvene.index.languages.language import Grammar, Language, Rule, words

_NAME = r"[A-Za-z_$\x80-\xff][\w$\x80-\xff]*"
_EXPORT = r"^[ \t]*(?:export[ \t]+)?(?:default[ \t]+)?(?:declare[ \t]+)?"
_MODIFIERS = r"(?:(?:public|private|protected|static|async|get|set|readonly|override|abstract|accessor)[ \t]+)*"
# Parameters in balanced parentheses, one level deep.
_PARAMETERS = r"\([^;()]*(?:\([^;()]*\)[^;()]*)*\)"

_SCRIPT = (
    Rule("function", rf"{_EXPORT}(?:async[ \t]+)?function[ \t]*\*?[ \t]*({_NAME})[ \t]*[(<]"),
    Rule("class", rf"{_EXPORT}(?:abstract[ \t]+)?class[ \t]+({_NAME})"),
    Rule(
        "function",
        rf"{_EXPORT}(?:const|let|var)[ \t]+({_NAME})[ \t]*(?::[^=\n]+)?=[ \t]*(?:async\b[ \t]*)?"
        rf"(?:function\b|\([^()\n]*\)[^=\n]*=>|{_NAME}[ \t]*=>|<[^=\n()]*>[ \t]*\(|\([ \t]*$)",
    ),
    Rule("constant", rf"^(?:export[ \t]+)?(?:declare[ \t]+)?(?:const|let|var)[ \t]+({_NAME})"),
    Rule("function", rf"^[ \t]*(?:module[ \t]*\.[ \t]*)?(?:exports|[\w$.]+\.prototype)\.({_NAME})[ \t]*="),
    Rule("function", rf"^[ \t]*[\w$.]+\.({_NAME})[ \t]*=[ \t]*(?:async[ \t]+)?(?:function\b|\([^()\n]*\)[ \t]*=>)"),
    Rule(
        "method",
        rf"^[ \t]+{_MODIFIERS}\*?[ \t]*#?({_NAME})[ \t]*(?:<[^\n(]*>)?{_PARAMETERS}[ \t]*(?::[^{{}};=\n]+)?\{{",
    ),
    Rule("method", rf"^[ \t]+{_MODIFIERS}#?({_NAME})[ \t]*[:=][ \t]*(?:async[ \t]+)?function\b"),
)
_TYPES = (
    Rule("interface", rf"{_EXPORT}interface[ \t]+({_NAME})"),
    Rule("enum", rf"{_EXPORT}(?:const[ \t]+)?enum[ \t]+({_NAME})[ \t]*\{{"),
    Rule("type", rf"{_EXPORT}type[ \t]+({_NAME})[^=\n]*="),
    Rule("module", rf"{_EXPORT}(?:namespace|module)[ \t]+({_NAME})"),
    Rule("method", rf"^[ \t]+{_MODIFIERS}({_NAME})\??[ \t]*(?:<[^\n(]*>)?{_PARAMETERS}[ \t]*:[^;{{}}=\n]+;?[ \t]*$"),
)
_NOT_NAMES = words("if for while switch catch function return else do try with new throw await typeof super import")
_NOT_AFTER = words("return throw new await yield else case")

_SCRIPT_DEFINITIONS = """
    (class_declaration name: (_) @name) @class
    (function_declaration name: (_) @name) @function
    (generator_function_declaration name: (_) @name) @function
    (method_definition name: (_) @name) @method
    (variable_declarator
        name: (identifier) @name
        value: [(arrow_function) (function_expression) (generator_function)]) @function
    (variable_declarator name: (identifier) @name value: (class)) @class
    (program [(lexical_declaration (variable_declarator name: (identifier) @name))
              (variable_declaration (variable_declarator name: (identifier) @name))] @constant)
    (program (export_statement [(lexical_declaration (variable_declarator name: (identifier) @name))
                                (variable_declaration (variable_declarator name: (identifier) @name))] @constant))
    (assignment_expression
        left: (member_expression
            object: (member_expression object: (_) @of property: (property_identifier) @_prototype)
            property: (property_identifier) @name)
        right: [(arrow_function) (function_expression) (generator_function)]
        (#eq? @_prototype "prototype")) @method
    (assignment_expression
        left: (member_expression
            object: [(identifier) (member_expression)] @_object property: (property_identifier) @name)
        (#match? @_object "(^|[.])exports$")) @function
    (assignment_expression
        left: (member_expression property: (property_identifier) @name)
        right: [(arrow_function) (function_expression) (generator_function)]) @function
    (pair key: (property_identifier) @name value: [(function_expression) (generator_function)]) @method
"""
_QUOTED = """
    (comment) @comment
    (string_fragment) @string
    (regex_pattern) @string
"""
_WRAPS = frozenset({"export_statement"})

_JAVASCRIPT = Grammar(
    module="tree_sitter_javascript",
    definitions=_SCRIPT_DEFINITIONS
    + "(field_definition property: (_) @name value: [(arrow_function) (function_expression)]) @method",
    quoted=_QUOTED + "(jsx_text) @string",
    wraps=_WRAPS,
)
_TYPED = """
    (abstract_class_declaration name: (_) @name) @class
    (interface_declaration name: (_) @name) @interface
    (enum_declaration name: (_) @name) @enum
    (type_alias_declaration name: (_) @name) @type
    (internal_module name: (_) @name) @module
    (module name: (_) @name) @module
    (method_signature name: (_) @name) @method
    (abstract_method_signature name: (_) @name) @method
    (function_signature name: (_) @name) @function
    (public_field_definition name: (_) @name value: [(arrow_function) (function_expression)]) @method
    (program (ambient_declaration (lexical_declaration (variable_declarator name: (identifier) @name)) @constant))
"""
_TYPESCRIPT = Grammar(
    module="tree_sitter_typescript",
    function="language_typescript",
    definitions=_SCRIPT_DEFINITIONS + _TYPED,
    quoted=_QUOTED,
    wraps=_WRAPS | {"ambient_declaration"},
)
_TSX = replace(_TYPESCRIPT, function="language_tsx", quoted=_QUOTED + "(jsx_text) @string")
_SCRIPT_OF_PAGE = r"(?s)<script[^>]*>(.*?)</script>"

LANGUAGE = Language(
    name="javascript",
    globs=("*.js", "*.mjs", "*.cjs", "*.jsx", "*.vue", "*.svelte"),
    rules=_SCRIPT,
    not_names=_NOT_NAMES,
    not_after=_NOT_AFTER,
    grammars=(_JAVASCRIPT, _TSX),
    embedded=_SCRIPT_OF_PAGE,
)

TYPESCRIPT = Language(
    name="typescript",
    globs=("*.ts", "*.tsx", "*.mts", "*.cts"),
    rules=_TYPES[:4] + _SCRIPT + _TYPES[4:],
    not_names=_NOT_NAMES,
    not_after=_NOT_AFTER,
    grammars=(_TYPESCRIPT, _TSX),
)
