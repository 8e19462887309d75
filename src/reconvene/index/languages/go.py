from reconvene.index.languages.language import NAME, Grammar, Language, Rule

GRAMMAR = Grammar(
    module="tree_sitter_go",
    definitions="""
        (function_declaration name: (_) @name) @function
        (method_declaration receiver: (parameter_list (parameter_declaration type: [
            (type_identifier) @of
            (pointer_type (type_identifier) @of)
            (generic_type type: (_) @of)
            (pointer_type (generic_type type: (_) @of))
        ])) name: (_) @name) @method
        (source_file (type_declaration [(type_spec name: (_) @name) (type_alias name: (_) @name)] @type))
        (source_file (const_declaration (const_spec name: (_) @name) @constant))
        (source_file (var_declaration (var_spec name: (_) @name) @constant))
        (source_file (var_declaration (var_spec_list (var_spec name: (_) @name) @constant)))
    """,
    quoted="""
        (comment) @comment
        [(interpreted_string_literal) (raw_string_literal)] @string
    """,
)

LANGUAGE = Language(
    name="go",
    globs=("*.go",),
    aliases=("golang",),
    nested=False,
    rules=(
        Rule("function", rf"^func[ \t]+({NAME})[ \t]*[(\[]"),
        Rule("method", rf"^func[ \t]*\([^)\n]*\)[ \t]*({NAME})[ \t]*\("),
        Rule("type", rf"^type[ \t]+({NAME})[ \t\[]"),
        # In a `type ( … )` block, and in a `const ( … )` or `var ( … )` block.
        Rule("type", rf"^\t({NAME})(?:\[[^\]\n]*\])?[ \t]+(?:struct|interface)[ \t]*\{{"),
        Rule("constant", rf"^(?:const|var)[ \t]+({NAME})"),
        Rule("constant", r"^\t([A-Z]\w*)(?:[ \t]+[\w.\[\]*]+)?[ \t]+=[ \t]"),
    ),
    grammars=(GRAMMAR,),
)
