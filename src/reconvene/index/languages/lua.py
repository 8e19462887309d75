from reconvene.index.languages.language import NAME, Grammar, Language, Rule

GRAMMAR = Grammar(
    module="tree_sitter_lua",
    definitions="""
        (function_declaration name: (identifier) @name) @function
        (function_declaration name: (dot_index_expression table: (_) @of field: (_) @name)) @function
        (function_declaration name: (method_index_expression table: (_) @of method: (_) @name)) @function
        (assignment_statement
            (variable_list . name: (identifier) @name) (expression_list . value: (function_definition))) @function
        (assignment_statement
            (variable_list . name: (dot_index_expression table: (_) @of field: (_) @name))
            (expression_list . value: (function_definition))) @function
        (field name: (identifier) @name value: (function_definition)) @function
        ((chunk (assignment_statement (variable_list . name: (identifier) @name)) @constant)
            (#match? @name "^[A-Z][A-Z0-9_][A-Z0-9_]+$"))
        ((chunk (variable_declaration (assignment_statement (variable_list . name: (identifier) @name)) @constant))
            (#match? @name "^[A-Z][A-Z0-9_][A-Z0-9_]+$"))
    """,
    quoted="(comment) @comment (string_content) @string",
)

LANGUAGE = Language(
    name="lua",
    globs=("*.lua",),
    rules=(
        Rule("function", rf"^[ \t]*(?:local[ \t]+)?function[ \t]+(?:\w+[.:])*({NAME})[ \t]*\("),
        Rule("function", rf"^[ \t]*(?:local[ \t]+)?(?:\w+[.:])*({NAME})[ \t]*=[ \t]*function\b"),
        Rule("constant", r"^(?:local[ \t]+)?([A-Z][A-Z0-9_]{2,})[ \t]*="),
    ),
    grammars=(GRAMMAR,),
)
