from reconvene.index.languages.language import Language, Rule, words

_NAME = r"[A-Za-z_$\x80-\xff][\w$\x80-\xff]*"
_EXPORT = r"^[ \t]*(?:export[ \t]+)?(?:default[ \t]+)?(?:declare[ \t]+)?"
_MODIFIERS = r"(?:(?:public|private|protected|static|async|get|set|readonly|override|abstract|accessor)[ \t]+)*"
# Parameters in balanced parentheses, one level deep.
_PARAMETERS = r"\([^;()]*(?:\([^;()]*\)[^;()]*)*\)"

_SCRIPT = (
    Rule("function", rf"{_EXPORT}(?:async[ \t]+)?function[ \t]*\*?[ \t]*({_NAME})[ \t]*[(<]"),
    Rule("class", rf"{_EXPORT}(?:abstract[ \t]+)?class[ \t]+({_NAME})"),
    Rule(
        "function",
        rf"{_EXPORT}(?:const|let|var)[ \t]+({_NAME})[ \t]*(?::[^=\n]+)?=[ \t]*(?:async\b[ \t]*)?"
        rf"(?:function\b|\([^()\n]*\)[^=\n]*=>|{_NAME}[ \t]*=>|<[^=\n()]*>[ \t]*\(|\([ \t]*$)",
    ),
    Rule("constant", rf"^(?:export[ \t]+)?(?:declare[ \t]+)?(?:const|let|var)[ \t]+({_NAME})"),
    Rule("function", rf"^[ \t]*(?:module[ \t]*\.[ \t]*)?(?:exports|[\w$.]+\.prototype)\.({_NAME})[ \t]*="),
    Rule("function", rf"^[ \t]*[\w$.]+\.({_NAME})[ \t]*=[ \t]*(?:async[ \t]+)?(?:function\b|\([^()\n]*\)[ \t]*=>)"),
    Rule(
        "method",
        rf"^[ \t]+{_MODIFIERS}\*?[ \t]*#?({_NAME})[ \t]*(?:<[^\n(]*>)?{_PARAMETERS}[ \t]*(?::[^{{}};=\n]+)?\{{",
    ),
    Rule("method", rf"^[ \t]+{_MODIFIERS}#?({_NAME})[ \t]*[:=][ \t]*(?:async[ \t]+)?function\b"),
)
_TYPES = (
    Rule("interface", rf"{_EXPORT}interface[ \t]+({_NAME})"),
    Rule("enum", rf"{_EXPORT}(?:const[ \t]+)?enum[ \t]+({_NAME})[ \t]*\{{"),
    Rule("type", rf"{_EXPORT}type[ \t]+({_NAME})[^=\n]*="),
    Rule("module", rf"{_EXPORT}(?:namespace|module)[ \t]+({_NAME})"),
    Rule("method", rf"^[ \t]+{_MODIFIERS}({_NAME})\??[ \t]*(?:<[^\n(]*>)?{_PARAMETERS}[ \t]*:[^;{{}}=\n]+;?[ \t]*$"),
)
_NOT_NAMES = words("if for while switch catch function return else do try with new throw await typeof super import")
_NOT_AFTER = words("return throw new await yield else case")

LANGUAGE = Language(
    name="javascript",
    globs=("*.js", "*.mjs", "*.cjs", "*.jsx", "*.vue", "*.svelte"),
    rules=_SCRIPT,
    not_names=_NOT_NAMES,
    not_after=_NOT_AFTER,
)

TYPESCRIPT = Language(
    name="typescript",
    globs=("*.ts", "*.tsx", "*.mts", "*.cts"),
    rules=_TYPES[:4] + _SCRIPT + _TYPES[4:],
    not_names=_NOT_NAMES,
    not_after=_NOT_AFTER,
)
