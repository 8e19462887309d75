from reconvene.index.languages.language import NAME, Language, Rule

LANGUAGE = Language(
    name="lua",
    globs=("*.lua",),
    rules=(
        Rule("function", rf"^[ \t]*(?:local[ \t]+)?function[ \t]+(?:\w+[.:])*({NAME})[ \t]*\("),
        Rule("function", rf"^[ \t]*(?:local[ \t]+)?(?:\w+[.:])*({NAME})[ \t]*=[ \t]*function\b"),
        Rule("constant", r"^(?:local[ \t]+)?([A-Z][A-Z0-9_]{2,})[ \t]*="),
    ),
)
