from reconvene.index.languages.language import NAME, Language, Rule

_MODIFIERS = r"^[ \t]*(?:(?:@\w+(?:\([^)\n]*\))?|[a-z]+(?:\[\w+\])?)[ \t]+)*?"

LANGUAGE = Language(
    name="scala",
    globs=("*.scala", "*.sc", "*.sbt"),
    rules=(
        Rule("function", rf"{_MODIFIERS}def[ \t]+({NAME})"),
        Rule("class", rf"{_MODIFIERS}(?:class|object)[ \t]+({NAME})"),
        Rule("interface", rf"{_MODIFIERS}trait[ \t]+({NAME})"),
        Rule("enum", rf"{_MODIFIERS}enum[ \t]+({NAME})"),
        Rule("type", rf"{_MODIFIERS}type[ \t]+({NAME})"),
        Rule("constant", r"^[ \t]*(?:[a-z]+[ \t]+)*?val[ \t]+([A-Z]\w*)"),
    ),
)
