from reconvene.index.languages.language import OUTLINED, Grammar, Language, Rule

GRAMMAR = Grammar(
    module="tree_sitter_json",
    definitions="""
        (document (object (pair key: (string) @name) @key))
        (document (object (pair value: (object (pair key: (string) @name) @key))))
    """,
    quoted="(comment) @comment",
)

LANGUAGE = Language(
    name="json",
    globs=("*.json", "*.jsonc", "*.json5"),
    rules=(
        Rule(None, r"\A\s*\[(?s:.*)"),  # records, which all have the same keys
        Rule("key", r'^[ \t]{0,8}"([^"\n]{1,100})"[ \t]*:'),
    ),
    levels=2,
    most=OUTLINED,
    grammars=(GRAMMAR,),
)
