from reconvene.index.languages.language import Grammar, Language, Rule

GRAMMAR = Grammar(
    module="tree_sitter_hcl",
    definitions="""
        (config_file (body (block (string_lit (template_literal) @name) . (block_start)) @block))
        (config_file (body (block . (identifier) @name . (block_start)) @block))
    """,
    quoted="(comment) @comment",
)

LANGUAGE = Language(
    name="hcl",
    globs=("*.tf", "*.hcl"),
    aliases=("terraform",),
    rules=(
        # `resource "aws_s3_bucket" "logs" {` is of the name that stands last.
        Rule("block", r'^[a-z_][\w-]*(?:[ \t]+"[^"\n]*")*[ \t]+"([^"\n]+)"[ \t]*\{'),
        Rule("block", r"^([a-z_][\w-]*)[ \t]*\{"),
    ),
    grammars=(GRAMMAR,),
)
