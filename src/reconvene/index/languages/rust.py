from reconvene.index.languages.language import NAME, Language, Rule

_PUB = r"^[ \t]*(?:pub(?:\([^)\n]*\))?[ \t]+)?"

LANGUAGE = Language(
    name="rust",
    globs=("*.rs",),
    rules=(
        Rule(
            "function", rf'{_PUB}(?:(?:default|const|async|unsafe|extern(?:[ \t]+"[^"\n]*")?)[ \t]+)*fn[ \t]+({NAME})'
        ),
        Rule("struct", rf"{_PUB}(?:struct|union)[ \t]+({NAME})"),
        Rule("enum", rf"{_PUB}enum[ \t]+({NAME})"),
        Rule("interface", rf"{_PUB}(?:unsafe[ \t]+)?(?:auto[ \t]+)?trait[ \t]+({NAME})"),
        Rule(
            "impl",
            rf"^[ \t]*(?:unsafe[ \t]+)?impl\b[ \t]*(?:<[^\n{{]*?>[ \t]+)?(?:[^\n{{]*?[ \t]for[ \t]+)?&?(?:\w+::)*({NAME})",
        ),
        Rule("type", rf"{_PUB}type[ \t]+({NAME})"),
        Rule("module", rf"{_PUB}mod[ \t]+({NAME})"),
        Rule("constant", rf"{_PUB}(?:const|static)[ \t]+(?:mut[ \t]+)?({NAME})[ \t]*:"),
        Rule("macro", rf"^[ \t]*macro_rules![ \t]+({NAME})"),
    ),
)
