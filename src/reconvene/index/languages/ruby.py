from reconvene.index.languages.language import NAME, Grammar, Language, Rule

GRAMMAR = Grammar(
    module="tree_sitter_ruby",
    definitions="""
        (method name: (_) @name) @function
        (singleton_method name: (_) @name) @function
        (class name: (_) @name) @class
        (module name: (_) @name) @module
        (assignment left: (constant) @name) @constant
        ((call method: (identifier) @_method arguments: (argument_list . (simple_symbol) @name)) @method
            (#match? @_method "^(attr_.*|define_method|alias_method|delegate|scope|class_attribute|mattr_.*|cattr_.*)$"))
    """,
    quoted="""
        (comment) @comment
        [(string_content) (heredoc_content)] @string
    """,
)

LANGUAGE = Language(
    name="ruby",
    globs=("*.rb", "*.rake", "*.gemspec", "*.ru", "Rakefile", "Gemfile"),
    aliases=("rb",),
    rules=(
        Rule(
            "function",
            rf"^[ \t]*(?:(?:private|public|protected|private_class_method|module_function)[ \t]+)?def[ \t]+(?:self\.|\w+\.)?({NAME}[?!=]?)",
        ),
        Rule("class", r"^[ \t]*class[ \t]+((?:\w+::)*\w+)"),
        Rule("module", r"^[ \t]*module[ \t]+((?:\w+::)*\w+)"),
        Rule("constant", r"^[ \t]*([A-Z][A-Z0-9_]+)[ \t]*="),
        Rule(
            "method",
            rf"^[ \t]*(?:attr_\w+|define_method|alias_method|delegate|scope|class_attribute|mattr_\w+|cattr_\w+)[ \t(]+:({NAME}[?!]?)",
        ),
    ),
    grammars=(GRAMMAR,),
)
