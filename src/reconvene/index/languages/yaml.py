from reconvene.index.languages.language import OUTLINED, Grammar, Language, Rule

GRAMMAR = Grammar(
    module="tree_sitter_yaml",
    definitions="""
        (document (block_node (block_mapping (block_mapping_pair key: (_) @name) @key)))
        (document (block_node (block_mapping (block_mapping_pair
            value: (block_node (block_mapping (block_mapping_pair key: (_) @name) @key))))))
    """,
    quoted="(comment) @comment",
)

LANGUAGE = Language(
    name="yaml",
    globs=("*.yaml", "*.yml"),
    rules=(Rule("key", r"^[ ]{0,8}[\"']?([A-Za-z_][\w./ -]{0,100}?)[\"']?[ \t]*:(?:[ \t]|\r?$)"),),
    levels=2,
    most=OUTLINED,
    grammars=(GRAMMAR,),
)
