from reconvene.index.languages.language import NAME, Language, Rule

_MODIFIERS = r"^[ \t]*(?:(?:@[\w.]+(?:\([^)\n]*\))?|[a-z]+)[ \t]+)*?"

LANGUAGE = Language(
    name="kotlin",
    globs=("*.kt", "*.kts"),
    rules=(
        Rule("interface", rf"{_MODIFIERS}(?:fun[ \t]+)?interface[ \t]+({NAME})"),
        Rule("enum", rf"{_MODIFIERS}enum[ \t]+class[ \t]+({NAME})"),
        Rule("class", rf"{_MODIFIERS}(?:class|object)[ \t]+({NAME})"),
        Rule("function", rf"{_MODIFIERS}fun[ \t]+(?:<[^\n(]*?>[ \t]+)?(?:[\w.]+(?:<[^\n(]*?>)?\??\.)?({NAME})[ \t]*\("),
        Rule("type", rf"{_MODIFIERS}typealias[ \t]+({NAME})"),
        Rule("constant", rf"^(?:[a-z]+[ \t]+)*?va[lr][ \t]+(?:[\w.]+(?:<[^\n(=]*?>)?\.)?({NAME})"),
        Rule("constant", rf"^[ \t]*(?:[a-z]+[ \t]+)*?const[ \t]+val[ \t]+({NAME})"),
    ),
)
