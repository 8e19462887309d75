from reconvene.index.languages.language import Grammar, Language, Rule

_NAME = r"[A-Za-z_][\w.:-]*"

GRAMMAR = Grammar(
    module="tree_sitter_bash",
    definitions="""
        (function_definition name: (_) @name) @function
        ((program [
            (variable_assignment name: (variable_name) @name) @constant
            (declaration_command (variable_assignment name: (variable_name) @name)) @constant
        ]) (#match? @name "^[A-Z][A-Z0-9_][A-Z0-9_]+$"))
    """,
    quoted="""
        (comment) @comment
        [(raw_string) (string_content) (heredoc_body)] @string
    """,
)

LANGUAGE = Language(
    name="bash",
    globs=("*.sh", "*.bash", "*.zsh", "*.ksh", "*.bats", ".bashrc", ".zshrc", ".profile"),
    aliases=("shell",),
    rules=(
        Rule("function", rf"^[ \t]*function[ \t]+({_NAME})"),
        Rule("function", rf"^[ \t]*({_NAME})[ \t]*\([ \t]*\)"),
        Rule("constant", r"^(?:export[ \t]+|readonly[ \t]+|declare[ \t]+(?:-\w+[ \t]+)*)?([A-Z][A-Z0-9_]{2,})="),
    ),
    grammars=(GRAMMAR,),
)
