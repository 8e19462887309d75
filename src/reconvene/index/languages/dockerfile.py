from reconvene.index.languages.language import OUTLINED, Grammar, Language, Rule

_FROM = r"(?i)^[ \t]*from[ \t]+(?:--\S+[ \t]+)*"

GRAMMAR = Grammar(
    module="tree_sitter_dockerfile",
    definitions="""
        (from_instruction as: (image_alias) @name) @stage
        (from_instruction (image_spec) @name !as) @stage
    """,
    quoted="(comment) @comment",
    until_next=True,
)

LANGUAGE = Language(
    name="dockerfile",
    globs=("Dockerfile", "Containerfile", "*.dockerfile"),
    rules=(
        Rule("stage", rf"{_FROM}\S+[ \t]+as[ \t]+([\w.-]+)"),
        Rule("stage", rf"{_FROM}(\S+)[ \t]*\r?$"),
    ),
    nested=False,
    most=OUTLINED,
    grammars=(GRAMMAR,),
)
