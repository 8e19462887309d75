from reconvene.index.languages.language import NAME, Language, Rule, words

_MODIFIERS = (
    r"(?:(?:public|private|protected|static|final|abstract|sealed|non-sealed|strictfp|synchronized|native|default)[ \t]+"
    r"|@[\w.]+(?:\([^)\n]*\))?[ \t]+)*"
)
_TYPE = r"[\w.]+(?:<[^\n(=;]*>)?(?:\[\])*"
_PARAMETERS = r"\([^;{}()]*(?:\([^;{}()]*\)[^;{}()]*)*\)"

LANGUAGE = Language(
    name="java",
    globs=("*.java",),
    rules=(
        Rule("class", rf"^[ \t]*{_MODIFIERS}class[ \t]+({NAME})"),
        Rule("interface", rf"^[ \t]*{_MODIFIERS}@?interface[ \t]+({NAME})"),
        Rule("enum", rf"^[ \t]*{_MODIFIERS}enum[ \t]+({NAME})"),
        Rule("class", rf"^[ \t]*{_MODIFIERS}record[ \t]+({NAME})[ \t]*[(<]"),
        Rule(
            "method",
            rf"^[ \t]+{_MODIFIERS}(?:<[^\n(]*>[ \t]+)?{_TYPE}[ \t]+({NAME})[ \t]*{_PARAMETERS}\s*(?:throws\s[\w., \t\r\n]+)?\{{",
        ),
        Rule("method", rf"^[ \t]+{_MODIFIERS}({NAME})[ \t]*{_PARAMETERS}\s*(?:throws\s[\w., \t\r\n]+)?\{{"),
        Rule(
            "method",
            rf"^[ \t]+{_MODIFIERS}(?:<[^\n(]*>[ \t]+)?{_TYPE}[ \t]+({NAME})[ \t]*\([^;{{}}()=.\"]*\)[ \t]*(?:throws[ \t][\w., \t]+)?;",
        ),
        Rule(
            "constant",
            rf"^[ \t]+(?:(?:public|private|protected)[ \t]+)?(?:static[ \t]+final|final[ \t]+static)[ \t]+{_TYPE}[ \t]+({NAME})[ \t]*=",
        ),
    ),
    not_names=words("if for while switch catch super this synchronized try"),
    not_after=words("return new else throw case assert yield"),
)
