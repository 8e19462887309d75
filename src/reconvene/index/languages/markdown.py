from reconvene.index.languages.language import Grammar, Language, Rule

GRAMMAR = Grammar(
    module="tree_sitter_markdown",
    definitions="""
        (section . (atx_heading heading_content: (_) @name)) @heading
        (section . (setext_heading heading_content: (_) @name)) @heading
        (setext_heading heading_content: (_) @name) @heading
    """,
    quoted="(html_block) @comment",
)

LANGUAGE = Language(
    name="markdown",
    globs=("*.md", "*.markdown", "*.mdx"),
    rules=(
        # A fenced block first: its `# comment` is no heading.
        Rule(None, r"^[ \t]*```(?s:.*?)^[ \t]*```"),
        Rule(None, r"^[ \t]*~~~(?s:.*?)^[ \t]*~~~"),
        Rule("heading", r"^([^\s#>|=`~-][^\n]*)\n=+[ \t]*\r?$"),
        Rule("heading", r"^#{1,6}[ \t]+([^\n]*[^\s#])"),
    ),
    grammars=(GRAMMAR,),
)
