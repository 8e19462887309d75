from reconvene.index.languages.language import NAME, Language, Rule

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
)
