"""All languages, and which one a file or a person's word for it means."""

from __future__ import annotations

from functools import lru_cache

import xxhash

from reconvene.index.languages import (
    bash,
    c,
    cpp,
    csharp,
    css,
    dockerfile,
    go,
    hcl,
    html,
    java,
    javascript,
    json,
    kotlin,
    lua,
    markdown,
    php,
    python,
    ruby,
    rust,
    scala,
    sql,
    swift,
    toml,
    words_only,
    yaml,
)
from reconvene.index.languages.language import Language

PLAIN = Language("other", ())
"""Text of no known language: found by its words."""

LANGUAGES: dict[str, Language] = {
    language.name: language
    for language in (
        python.LANGUAGE,
        javascript.LANGUAGE,
        javascript.TYPESCRIPT,
        go.LANGUAGE,
        rust.LANGUAGE,
        java.LANGUAGE,
        kotlin.LANGUAGE,
        c.LANGUAGE,
        cpp.LANGUAGE,
        csharp.LANGUAGE,
        ruby.LANGUAGE,
        php.LANGUAGE,
        swift.LANGUAGE,
        scala.LANGUAGE,
        lua.LANGUAGE,
        bash.LANGUAGE,
        markdown.LANGUAGE,
        html.LANGUAGE,
        css.LANGUAGE,
        json.LANGUAGE,
        yaml.LANGUAGE,
        toml.LANGUAGE,
        sql.LANGUAGE,
        hcl.LANGUAGE,
        dockerfile.LANGUAGE,
        *words_only.LANGUAGES,
        PLAIN,
    )
}

_BY_SUFFIX = {glob[2:]: language for language in LANGUAGES.values() for glob in language.globs if glob.startswith("*.")}
_BY_NAME = {glob: language for language in LANGUAGES.values() for glob in language.globs if not glob.startswith("*.")}
_BY_WORD = (
    {suffix.lower(): language.name for suffix, language in _BY_SUFFIX.items()}
    | {alias: language.name for language in LANGUAGES.values() for alias in language.aliases}
    | {name: name for name in LANGUAGES}
)


@lru_cache(maxsize=1 << 14)
def _of_name(name: str) -> Language:
    if found := _BY_NAME.get(name) or _BY_NAME.get(name.split(".")[0] if name.startswith("Dockerfile.") else ""):
        return found
    suffix = name.rpartition(".")[2] if "." in name else ""
    return _BY_SUFFIX.get(suffix) or _BY_SUFFIX.get(suffix.lower()) or PLAIN


def language_of(path: str) -> Language:
    """By the file's name; `PLAIN` when nothing fits.

    >>> language_of("src/a.py").name, language_of("x/Makefile").name, language_of("LICENSE").name
    ('python', 'make', 'other')
    """
    return _of_name(path.rpartition("/")[2])


def language_named(word: str) -> str | None:
    """The language a person means: its name, an alias or a suffix.

    >>> language_named("py"), language_named("C++"), language_named("klingon")
    ('python', 'cpp', None)
    """
    return _BY_WORD.get(word.lower().lstrip("."))


def rules_digest() -> str:
    """Changes whenever a pattern does, so that nothing found by an older one is kept."""
    text = repr(
        [
            (
                *(x.name, x.globs, [(r.kind, r.pattern) for r in x.rules], sorted(x.not_names), sorted(x.not_after)),
                *(
                    x.nested,
                    x.levels,
                    x.most,
                    x.strings.pattern if x.strings else None,
                    x.instead[0] if x.instead else None,
                ),
            )
            for x in LANGUAGES.values()
        ]
    )
    return xxhash.xxh3_64_hexdigest(text.encode())
