from reconvene.index.languages.language import NAME, Grammar, Language, Rule

_PUB = r"^[ \t]*(?:pub(?:\([^)\n]*\))?[ \t]+)?"

GRAMMAR = Grammar(
    module="tree_sitter_rust",
    definitions="""
        (function_item name: (_) @name) @function
        (function_signature_item name: (_) @name) @function
        (struct_item name: (_) @name) @struct
        (union_item name: (_) @name) @struct
        (enum_item name: (_) @name) @enum
        (trait_item name: (_) @name) @interface
        (impl_item type: [
            (type_identifier) @name
            (generic_type type: (type_identifier) @name)
            (generic_type type: (scoped_type_identifier name: (_) @name))
            (scoped_type_identifier name: (_) @name)
            (reference_type type: (type_identifier) @name)
            (primitive_type) @name
        ]) @impl
        (type_item name: (_) @name) @type
        (associated_type name: (_) @name) @type
        (mod_item name: (_) @name) @module
        (const_item name: (_) @name) @constant
        (static_item name: (_) @name) @constant
        (macro_definition name: (_) @name) @macro
    """,
    quoted="""
        [(line_comment) (block_comment)] @comment
        (string_content) @string
        (attribute_item) @over
        (macro_invocation (token_tree) @opaque)
        (macro_definition) @opaque
    """,
)

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
    grammars=(GRAMMAR,),
)
