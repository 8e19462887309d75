from reconvene.index.languages.language import NAME, Language, Rule, words

PARAMETERS = r"\([^;{}()]*(?:\([^;{}()]*\)[^;{}()]*)*\)"
DEFINE = Rule("macro", rf"^[ \t]*#[ \t]*define[ \t]+({NAME})")
NOT_NAMES = words("if for while switch catch return sizeof defined do else __attribute__")
NOT_AFTER = words("return else if do while for switch case typedef throw new goto using delete")

LANGUAGE = Language(
    name="c",
    globs=("*.c", "*.h"),
    rules=(
        DEFINE,
        Rule("struct", rf"^[ \t]*(?:typedef[ \t]+)?(?:struct|union)[ \t]+({NAME})[^;(){{}}=\n]*\s\{{"),
        Rule("enum", rf"^[ \t]*(?:typedef[ \t]+)?enum[ \t]+({NAME})[ \t]*\s\{{"),
        Rule("type", rf"^\}}[ \t]*(?:__\w+[ \t]+)?({NAME})[ \t]*;"),
        Rule("type", rf"^typedef\b[^;{{}}()]*?({NAME})[ \t]*;"),
        Rule("type", rf"^typedef\b[^;{{}}()]*\(\*[ \t]*({NAME})\)"),
        Rule("function", rf"^[A-Za-z_][\w \t*]*[ \t*\n]({NAME})[ \t]*{PARAMETERS}[^;{{}}()=]*\{{"),
    ),
    not_names=NOT_NAMES,
    not_after=NOT_AFTER - {"typedef"},
)
