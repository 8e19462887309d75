from reconvene.index.languages.language import Language, Rule

LANGUAGE = Language(
    name="markdown",
    globs=("*.md", "*.markdown", "*.mdx"),
    rules=(
        # A fenced block first: its `# comment` is no heading.
        Rule(None, r"^[ \t]*```(?s:.*?)^[ \t]*```"),
        Rule(None, r"^[ \t]*~~~(?s:.*?)^[ \t]*~~~"),
        Rule("heading", r"^#{1,6}[ \t]+([^\n]*[^\s#])"),
    ),
)
