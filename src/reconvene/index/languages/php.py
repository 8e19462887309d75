from reconvene.index.languages.language import NAME, Language, Rule

_MODIFIERS = r"^[ \t]*(?:(?:abstract|final|readonly|public|private|protected|static)[ \t]+)*"

LANGUAGE = Language(
    name="php",
    globs=("*.php", "*.phtml", "*.inc"),
    rules=(
        Rule("class", rf"{_MODIFIERS}class[ \t]+({NAME})"),
        Rule("interface", rf"^[ \t]*interface[ \t]+({NAME})"),
        Rule("class", rf"^[ \t]*trait[ \t]+({NAME})"),
        Rule("enum", rf"^[ \t]*enum[ \t]+({NAME})[ \t]*(?::[^{{\n]*)?\s*\{{"),
        Rule("function", rf"{_MODIFIERS}function[ \t]+&?[ \t]*({NAME})[ \t]*\("),
        Rule("constant", rf"{_MODIFIERS}const[ \t]+(?:\w+[ \t]+)?({NAME})[ \t]*="),
        Rule("constant", rf"^[ \t]*define\([ \t]*['\"]({NAME})['\"]"),
    ),
)
