"""Paths whose content runs later, or tells a program what to run, without anybody meaning it: accepting a change there
is more than accepting text.

By name only, and generously: a path that is marked costs one more look, one that is missed may cost the machine.
"""

from __future__ import annotations

import re

from reconvene.workspace.names import shown
from reconvene.workspace.secret_files import is_secret

# What file systems of other machines leave out of a name: HFS+ ignores these characters, Windows trailing dots and
# blanks, and knows .git as git~1 (CVE-2014-9390).
_IGNORED = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]")

_FOLDERS: tuple[tuple[str, frozenset[str]], ...] = (
    ("belongs to version control, which runs what stands there", frozenset({".git", ".hg", ".svn", ".jj", ".bzr"})),
    ("is a hook that runs by itself", frozenset({".husky", ".githooks", "githooks", ".git-hooks", ".lefthook"})),
    (
        "is run by continuous integration",
        frozenset({".circleci", ".buildkite", ".woodpecker", ".gitea", ".forgejo", ".drone", ".teamcity", ".azure"}),
    ),
    (
        "configures an editor, which runs what stands there",
        frozenset({".vscode", ".idea", ".vs", ".zed", ".fleet", ".devcontainer", ".vim", ".nvim", ".sublime"}),
    ),
    (
        "tells an agent what to do",
        frozenset({
            ".claude", ".cursor", ".windsurf", ".continue", ".codex", ".gemini", ".aider", ".roo", ".clinerules",
            ".kiro", ".agents", ".opencode", ".goose", ".junie",
        }),
    ),
    ("runs whenever the machine or a shell starts", frozenset({".config", ".ssh"})),
)  # fmt: skip

# githooks(5), in a folder that core.hooksPath may name; hooks/useThing.ts is none.
_GIT_HOOK = re.compile(
    r"(?:applypatch-msg|(?:pre|post)-applypatch|(?:pre|post)-(?:commit|merge-commit|merge|checkout|rebase|push|receive|rewrite)"
    r"|pre-auto-gc|prepare-commit-msg|commit-msg|update|(?:proc|post)-(?:receive|update)|push-to-checkout|fsmonitor-watchman"
    r"|reference-transaction|sendemail-validate)(?:\.\w+)?"
)

_NAMES: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (why, re.compile(names, re.VERBOSE))
    for why, names in (
        (
            "is a hook that runs by itself",
            r"\.pre-commit-config\.ya?ml | \.?lefthook(?:-local)?\.(?:ya?ml|toml|json) | \.overcommit\.yml"
            r"| \.huskyrc.* | \.lintstagedrc.*",
        ),
        (
            "tells version control which programs to run",
            r"\.gitattributes | \.gitmodules | \.gitconfig | \.hgrc",
        ),
        (
            "is run by continuous integration",
            r"\.gitlab-ci\.ya?ml | jenkinsfile.* | azure-pipelines.*\.ya?ml | \.travis\.ya?ml | \.drone\.ya?ml"
            r"| bitbucket-pipelines\.ya?ml | \.?appveyor\.ya?ml | \.cirrus\.ya?ml | \.woodpecker\.ya?ml"
            r"| buildspec\.ya?ml | cloudbuild\.ya?ml | \.builds?\.ya?ml",
        ),
        (
            "is a build script that runs when the project is built",
            r"(?:gnu)?makefile(?:\.(?!md|rst|txt)\w+)? | .*\.(?:mk|mak|cmake) | cmakelists\.txt | \.?justfile | taskfile\.ya?ml"
            r"| rakefile | .*\.rake | build\.rs | build\.zig | build\.sbt | .*\.gradle(?:\.kts)? | gradlew(?:\.bat)?"
            r"| mvnw(?:\.cmd)? | pom\.xml | build\.xml | configure(?:\.ac)? | meson\.build | sconstruct | wscript"
            r"| workspace(?:\.bazel)? | module\.bazel | build\.bazel | \.bazelrc | binding\.gyp | .*\.(?:csproj|vcxproj|targets|props)"
            r"| dockerfile(?:\..*)? | .*\.dockerfile | containerfile(?:\..*)? | (?:docker-)?compose.*\.ya?ml | vagrantfile | procfile"
            r"| (?:flake|default|shell)\.nix | tiltfile | skaffold\.ya?ml | gulpfile\..* | gruntfile\..*",
        ),
        (
            "runs when the project is installed or its packages are",
            r"package\.json | setup\.(?:py|cfg) | pyproject\.toml | hatch_build\.py | cargo\.toml | composer\.json"
            r"| gemfile | .*\.gemspec | \.?npmrc | \.?yarnrc(?:\.ya?ml)? | \.pnpmfile\.c?js | pnpm-workspace\.ya?ml"
            r"| pip\.conf | pip\.ini | \.?pydistutils\.cfg | requirements.*\.txt | .*\.pth | (?:site|user)customize\.py"
            r"| noxfile\.py | tox\.ini | deno\.jsonc? | bunfig\.toml | podfile | package\.swift | mix\.exs | rebar\.config",
        ),
        (
            "runs whenever the machine or a shell starts",
            r"\.(?:bash|zsh|k|c|tc)(?:rc|env|profile|_profile|_login|_logout) | \.(?:profile|login|xprofile|xinitrc)"
            r"| \.envrc | \.direnvrc | \.tool-versions | \.?mise\.toml | .*\.(?:service|timer|socket|desktop)| crontab",
        ),
        (
            "configures an editor, which runs what stands there",
            r".*\.code-workspace | \.?exrc | \.n?vimrc | \.lvimrc | \.nvim\.lua | \.dir-locals(?:-2)?\.el | .*\.sublime-project"
            r"| \.editorconfig | devcontainer\.json",
        ),
        (
            "tells an agent what to do",
            r"agents?(?:\.override)?\.md | claude(?:\.local)?\.md | gemini\.md | copilot-instructions\.md | \.cursorrules"
            r"| \.windsurfrules | \.clinerules | \.goosehints | \.?mcp\.json | \.aider.* | \.rules | opencode\.jsonc?",
        ),
    )
)  # fmt: skip


def risky(path: str) -> str | None:
    """A sentence why a change of this path is to be looked at by itself; None for a path like any other.

    >>> print(risky(".github/workflows/test.yml"))
    .github/workflows/test.yml is run by continuous integration.
    >>> print(risky("src/app.py"))
    None
    """
    names = [_bare(name) for name in path.split("/") if name not in ("", ".")]
    why = _why(names)
    if why is None and is_secret("/".join(names)):
        why = "looks like a secret by its name"
    return f"{shown(path)} {why}." if why else None


def _why(names: list[str]) -> str | None:
    if not names:
        return None
    for why, folders in _FOLDERS:
        if not folders.isdisjoint(names):
            return why
    if ".github" in names[:-1]:
        below = names[names.index(".github") + 1]
        if below in ("workflows", "actions"):
            return "is run by continuous integration"
        if below in ("instructions", "prompts", "agents", "chatmodes", "skills"):
            return "tells an agent what to do"
    if "hooks" in names[:-1] and _GIT_HOOK.fullmatch(names[-1]):
        return "is a hook that runs by itself"
    return next((why for why, pattern in _NAMES if pattern.fullmatch(names[-1])), None)


def _bare(name: str) -> str:
    """The name that the most forgiving file system takes it for."""
    bare = _IGNORED.sub("", name).casefold()
    bare = bare.rstrip(". ") or bare
    return ".git" if bare.startswith("git~") else bare
