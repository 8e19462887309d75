"""Languages that are found by their words alone."""

from reconvene.index.languages.language import Language

LANGUAGES = (
    Language("restructuredtext", ("*.rst",), aliases=("rst",)),
    Language("text", ("*.txt", "*.adoc", "*.org", "README", "CHANGELOG", "CONTRIBUTING", "NOTES")),
    Language("ini", ("*.ini", "*.cfg", "*.conf", "*.properties", ".editorconfig", ".gitignore", ".gitattributes")),
    Language("xml", ("*.xml", "*.xsd", "*.xsl")),
    Language("protobuf", ("*.proto",)),
    Language("graphql", ("*.graphql", "*.gql")),
    Language("make", ("Makefile", "makefile", "GNUmakefile", "*.mk", "CMakeLists.txt", "*.cmake")),
    Language("elixir", ("*.ex", "*.exs")),
    Language("erlang", ("*.erl", "*.hrl")),
    Language("haskell", ("*.hs",)),
    Language("ocaml", ("*.ml", "*.mli")),
    Language("clojure", ("*.clj", "*.cljs", "*.cljc")),
    Language("dart", ("*.dart",)),
    Language("zig", ("*.zig",)),
    Language("perl", ("*.pl", "*.pm")),
    Language("r", ("*.r", "*.R")),
    Language("julia", ("*.jl",)),
    Language("objective-c", ("*.m",)),
    Language("tcl", ("*.tcl",)),
    Language("assembly", ("*.s", "*.S", "*.asm")),
    Language("groovy", ("*.groovy", "*.gradle")),
    Language("powershell", ("*.ps1", "*.psm1")),
    Language("nix", ("*.nix",)),
    Language("vim", ("*.vim",)),
)
