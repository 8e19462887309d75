from reconvene.index.languages.language import OUTLINED, Grammar, Language, Rule

GRAMMAR = Grammar(
    module="tree_sitter_html",
    definitions="""
        (element (start_tag
            (attribute (attribute_name) @_id [(quoted_attribute_value (attribute_value) @name) (attribute_value) @name]))
            (#match? @_id "^[iI][dD]$") (#not-match? @name "[{%]")) @element
        (element (self_closing_tag
            (attribute (attribute_name) @_id [(quoted_attribute_value (attribute_value) @name) (attribute_value) @name]))
            (#match? @_id "^[iI][dD]$") (#not-match? @name "[{%]")) @element
        (element . (start_tag (tag_name) @_tag) . (text) @name (#match? @_tag "^[hH][1-6]$") (#not-match? @name "[{%]")) @element
    """,
    quoted="(comment) @comment (text) @opaque",
)

LANGUAGE = Language(
    name="html",
    globs=("*.html", "*.htm", "*.xhtml", "*.jinja", "*.j2", "*.erb", "*.ejs", "*.hbs"),
    rules=(
        Rule(None, r"<!--(?s:.*?)-->"),
        Rule("element", r"<[A-Za-z][\w-]*(?:[ \t][^<>\n]*)?[ \t][iI][dD][ \t]*=[ \t]*[\"']?([\w:.-]+)[\"' \t>]"),
        Rule("element", r"<[hH][1-6](?:[ \t][^<>\n]*)?>[ \t]*([^<>{}\n]*[^<>{}\s])"),
        # The blocks of a template.
        Rule("element", r"\{%-?[ \t]*block[ \t]+(\w+)"),
    ),
    nested=False,
    most=OUTLINED,
    grammars=(GRAMMAR,),
)
