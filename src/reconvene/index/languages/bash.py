from reconvene.index.languages.language import Language, Rule

_NAME = r"[A-Za-z_][\w.:-]*"

LANGUAGE = Language(
    name="bash",
    globs=("*.sh", "*.bash", "*.zsh", "*.ksh", "*.bats", ".bashrc", ".zshrc", ".profile"),
    aliases=("shell",),
    rules=(
        Rule("function", rf"^[ \t]*function[ \t]+({_NAME})"),
        Rule("function", rf"^[ \t]*({_NAME})[ \t]*\([ \t]*\)"),
        Rule("constant", r"^(?:export[ \t]+|readonly[ \t]+|declare[ \t]+(?:-\w+[ \t]+)*)?([A-Z][A-Z0-9_]{2,})="),
    ),
)
