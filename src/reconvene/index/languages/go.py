from reconvene.index.languages.language import NAME, Language, Rule

LANGUAGE = Language(
    name="go",
    globs=("*.go",),
    aliases=("golang",),
    nested=False,
    rules=(
        Rule("function", rf"^func[ \t]+({NAME})[ \t]*[(\[]"),
        Rule("method", rf"^func[ \t]*\([^)\n]*\)[ \t]*({NAME})[ \t]*\("),
        Rule("type", rf"^type[ \t]+({NAME})[ \t\[]"),
        # In a `type ( … )` block, and in a `const ( … )` or `var ( … )` block.
        Rule("type", rf"^\t({NAME})(?:\[[^\]\n]*\])?[ \t]+(?:struct|interface)[ \t]*\{{"),
        Rule("constant", rf"^(?:const|var)[ \t]+({NAME})"),
        Rule("constant", r"^\t([A-Z]\w*)(?:[ \t]+[\w.\[\]*]+)?[ \t]+=[ \t]"),
    ),
)
