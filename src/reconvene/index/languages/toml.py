from reconvene.index.languages.language import OUTLINED, Grammar, Language, Rule

_PART = r"(?:[\w-]+|\"[^\"\n]*\"|'[^'\n]*')"

GRAMMAR = Grammar(
    module="tree_sitter_toml",
    definitions="""
        (table . (_) @name) @key
        (table_array_element . (_) @name) @key
    """,
    quoted="(comment) @comment",
)

LANGUAGE = Language(
    name="toml",
    globs=("*.toml",),
    rules=(Rule("key", rf"^\[\[?[ \t]*({_PART}(?:[ \t]*\.[ \t]*{_PART})*)[ \t]*\]\]?[ \t]*(?:#[^\n]*)?\r?$"),),
    most=OUTLINED,
    grammars=(GRAMMAR,),
)
