from reconvene.index.languages.language import NAME, Language, Rule, words

_MODIFIERS = r"^[ \t]*(?:(?:@\w+(?:\([^)\n]*\))?|[a-z]+(?:\([a-z]+\))?)[ \t]+)*?"

LANGUAGE = Language(
    name="swift",
    globs=("*.swift",),
    rules=(
        Rule("function", rf"{_MODIFIERS}func[ \t]+({NAME})[ \t]*[(<]"),
        Rule("class", rf"{_MODIFIERS}(?:class|actor)[ \t]+({NAME})[^(\n]*\{{"),
        Rule("struct", rf"{_MODIFIERS}struct[ \t]+({NAME})"),
        Rule("enum", rf"{_MODIFIERS}enum[ \t]+({NAME})"),
        Rule("interface", rf"{_MODIFIERS}protocol[ \t]+({NAME})"),
        Rule("impl", rf"{_MODIFIERS}extension[ \t]+(?:\w+\.)*({NAME})"),
        Rule("type", rf"{_MODIFIERS}(?:typealias|associatedtype)[ \t]+({NAME})"),
        Rule("method", rf"{_MODIFIERS}(init)[?!]?[ \t]*[(<]"),
        Rule("constant", rf"^(?:[a-z]+(?:\([a-z]+\))?[ \t]+)*?(?:let|var)[ \t]+({NAME})"),
    ),
    not_after=words("return throw case else"),
)
