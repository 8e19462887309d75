from reconvene.index.languages.language import NAME, OUTLINED, Grammar, Language, Rule

GRAMMAR = Grammar(
    module="tree_sitter_css",
    definitions="""
        (rule_set (selectors) @name) @rule
        (keyframes_statement (keyframes_name) @name) @rule
    """,
    quoted="(comment) @comment",
)

LANGUAGE = Language(
    name="css",
    globs=("*.css", "*.scss", "*.sass", "*.less"),
    rules=(
        Rule(None, r"/\*(?s:.*?)\*/"),
        Rule("function", rf"^[ \t]*@(?:mixin|function)[ \t]+({NAME}(?:-[\w-]+)?)"),
        Rule("rule", rf"^[ \t]*@(?:-\w+-)?keyframes[ \t]+({NAME}(?:-[\w-]+)?)"),
        Rule("rule", r"^[ \t]*([^\s{}@/*;][^{};\n]*?)[ \t]*\{"),
    ),
    most=OUTLINED,
    grammars=(GRAMMAR,),
)
