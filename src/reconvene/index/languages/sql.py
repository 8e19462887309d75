from reconvene.index.languages.language import Grammar, Language, Rule

_CREATE = r"(?i)^[ \t]*create[ \t]+(?:or[ \t]+replace[ \t]+)?"
_SORT = r"(?:(?:temp|temporary|global|local|unlogged|external|virtual|materialized|foreign|recursive)[ \t]+)*"
_NAME = r"(?:if[ \t]+not[ \t]+exists[ \t]+)?(?:[\w\"`\[\]]+\.)*[\"`\[]?([A-Za-z_]\w*)"

GRAMMAR = Grammar(
    module="tree_sitter_sql",
    definitions="""
        (create_table . (_) (object_reference name: (_) @name)) @table
        (create_view (object_reference name: (_) @name)) @table
        (create_materialized_view (object_reference name: (_) @name)) @table
        (create_function (object_reference name: (_) @name)) @function
        (create_trigger (keyword_trigger) . (object_reference name: (_) @name)) @function
        (create_type (object_reference name: (_) @name)) @type
    """,
    quoted="[(comment) (marginalia)] @comment",
)

LANGUAGE = Language(
    name="sql",
    globs=("*.sql",),
    rules=(
        Rule(
            "table",
            rf"{_CREATE}{_SORT}(?:table|view)[ \t]+{_NAME}",
        ),
        Rule("function", rf"{_CREATE}(?:constraint[ \t]+)?(?:function|procedure|trigger|aggregate)[ \t]+{_NAME}"),
        Rule("type", rf"{_CREATE}(?:type|domain)[ \t]+{_NAME}"),
    ),
    grammars=(GRAMMAR,),
)
