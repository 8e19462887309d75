from reconvene.index.languages.language import NAME, Grammar, Language, Rule, words

_MODIFIERS = (
    r"(?:(?:public|private|protected|internal|static|virtual|override|abstract|sealed|async|extern|unsafe|new|partial"
    r"|readonly|ref|required|file)[ \t]+)"
)
_TYPE = r"[\w.]+(?:<[^\n(=;]*>)?(?:\[[, ]*\])*\??"
_PARAMETERS = r"\([^;{}()]*(?:\([^;{}()]*\)[^;{}()]*)*\)"

GRAMMAR = Grammar(
    module="tree_sitter_c_sharp",
    definitions="""
        (class_declaration name: (_) @name) @class
        (record_declaration name: (_) @name) @class
        (struct_declaration name: (_) @name) @struct
        (interface_declaration name: (_) @name) @interface
        (enum_declaration name: (_) @name) @enum
        (namespace_declaration name: (_) @name) @module
        (file_scoped_namespace_declaration name: (_) @name) @module
        (delegate_declaration name: (_) @name) @type
        (method_declaration name: (_) @name) @method
        (constructor_declaration name: (_) @name) @method
        (destructor_declaration name: (_) @name) @method
        (local_function_statement name: (_) @name) @function
        (property_declaration name: (_) @name) @constant
        ((field_declaration (modifier) @_modifier (variable_declaration (variable_declarator name: (_) @name))) @constant
            (#any-of? @_modifier "const" "static"))
    """,
    quoted="""
        (comment) @comment
        [(string_literal) (verbatim_string_literal) (raw_string_literal) (string_content)] @string
    """,
)

LANGUAGE = Language(
    name="csharp",
    globs=("*.cs", "*.csx"),
    aliases=("c#",),
    rules=(
        Rule("class", rf"^[ \t]*{_MODIFIERS}*(?:class|record(?:[ \t]+(?:class|struct))?)[ \t]+({NAME})"),
        Rule("struct", rf"^[ \t]*{_MODIFIERS}*struct[ \t]+({NAME})"),
        Rule("interface", rf"^[ \t]*{_MODIFIERS}*interface[ \t]+({NAME})"),
        Rule("enum", rf"^[ \t]*{_MODIFIERS}*enum[ \t]+({NAME})"),
        Rule("module", r"^[ \t]*namespace[ \t]+([\w.]+)"),
        Rule("type", rf"^[ \t]*{_MODIFIERS}*delegate[ \t]+{_TYPE}[ \t]+({NAME})[ \t]*[(<]"),
        Rule(
            "method",
            rf"^[ \t]+{_MODIFIERS}*{_TYPE}[ \t]+(?:[\w.]+\.)?({NAME})[ \t]*(?:<[^>\n]*>)?[ \t]*{_PARAMETERS}\s*(?:where[^{{;]*)?(?:\{{|=>)",
        ),
        Rule("method", rf"^[ \t]+{_MODIFIERS}+({NAME})[ \t]*{_PARAMETERS}\s*(?::[^;{{}}]*)?(?:\{{|=>)"),
        Rule(
            "method", rf"^[ \t]+{_MODIFIERS}*{_TYPE}[ \t]+({NAME})[ \t]*(?:<[^>\n]*>)?[ \t]*\([^;{{}}()=\"]*\)[ \t]*;"
        ),
        Rule(
            "constant",
            rf"^[ \t]+{_MODIFIERS}+{_TYPE}[ \t]+({NAME})\s*(?:\{{\s*(?:get|set|init|private|protected|internal)\b|=>)",
        ),
        Rule("constant", rf"^[ \t]+{_MODIFIERS}*(?:const|static[ \t]+readonly)[ \t]+{_TYPE}[ \t]+({NAME})[ \t]*="),
    ),
    not_names=words("if for foreach while switch catch lock using fixed return when base this"),
    not_after=words("return else throw case await yield var using"),
    grammars=(GRAMMAR,),
)
