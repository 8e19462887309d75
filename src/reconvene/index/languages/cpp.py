from reconvene.index.languages.c import CPP, DEFINE, NOT_AFTER, NOT_NAMES, PARAMETERS
from reconvene.index.languages.language import NAME, Language, Rule

_BEFORE = r"^[ \t]*(?:template[ \t]*<[^\n]*>[ \t]*)?"
_ATTRIBUTES = r"(?:\[\[[^\]\n]*\]\][ \t]*|__\w+(?:\([^\n]*\))?[ \t]+|alignas\([^)\n]*\)[ \t]*|[A-Z][A-Z0-9_]+[ \t]+)*"

LANGUAGE = Language(
    name="cpp",
    globs=("*.cc", "*.cpp", "*.cxx", "*.hpp", "*.hh", "*.hxx", "*.ipp", "*.inl", "*.cu", "*.cuh", "*.mm"),
    aliases=("c++",),
    rules=(
        DEFINE,
        Rule("class", rf"{_BEFORE}class[ \t]+{_ATTRIBUTES}({NAME})[^;(){{}}=\n]*\s*\{{"),
        Rule("struct", rf"{_BEFORE}(?:typedef[ \t]+)?(?:struct|union)[ \t]+{_ATTRIBUTES}({NAME})[^;(){{}}=\n]*\s*\{{"),
        Rule("enum", rf"^[ \t]*(?:typedef[ \t]+)?enum[ \t]+(?:(?:class|struct)[ \t]+)?({NAME})[^;()={{}}\n]*\s*\{{"),
        Rule("module", rf"^[ \t]*(?:inline[ \t]+)?namespace[ \t]+(?:\w+::)*({NAME})[ \t]*\s*\{{"),
        Rule("type", rf"{_BEFORE}(?:using[ \t]+({NAME})[ \t]*=)"),
        Rule("type", rf"{_BEFORE}concept[ \t]+({NAME})[ \t]*="),
        Rule("type", rf"^\}}[ \t]*({NAME})[ \t]*;"),
        # A definition of a member outside of its class, constructors and destructors with it.
        Rule(
            "method",
            rf"^[\w:<>,*& \t\n]*?(?:\w+(?:<[^\n()]*>)?::)+(~?{NAME})[ \t]*{PARAMETERS}[^;{{}}()=]*(?::[^;{{}}]*)?\{{",
        ),
        Rule("function", rf"^[ \t]*[A-Za-z_][\w:<>,*& \t]*[ \t*&\n]({NAME})[ \t]*{PARAMETERS}[^;{{}}()=]*\{{"),
        Rule(
            "method",
            rf"^[ \t]+(?:explicit[ \t]+|virtual[ \t]+)?(~?{NAME})[ \t]*{PARAMETERS}[^;{{}}()=]*(?::[^;:{{}}][^;{{}}]*)?\{{",
        ),
    ),
    not_names=NOT_NAMES,
    not_after=NOT_AFTER - {"typedef", "using"},
    grammars=(CPP,),
)
