"""Which files are taken for secrets by their names: never listed, never indexed, not read without a person's approval.

Names only: a file's content is not looked at here. The list follows what secret scanners and .gitignore templates
agree on; a name that is a source file's (credentials.py, id_map.go) is not on it.
"""

from __future__ import annotations

import re

VERSION_CONTROL = frozenset({".git", ".hg", ".svn", ".jj", ".bzr"})
_FOLDERS = VERSION_CONTROL | {".aws", ".ssh", ".gnupg", ".kube"}
"""Everything in them. Version control's configuration can hold tokens."""

_NAMES = re.compile(
    r"""
      \.env.* | .*\.env
    | .*\.(?:pem|key|p12|pfx|jks|keystore|kdbx|ppk|tfstate|tfvars)
    | .*\.tfstate\..* | .*\.tfvars\.json
    | id_(?:rsa|dsa|ecdsa|ed25519|ecdsa_sk|ed25519_sk|xmss)(?:[._-].*)?
    | [._]netrc | \.pgpass | \.my\.cnf | \.npmrc | \.pypirc | \.htpasswd | \.dockercfg | \.git-credentials
    | \.vault-token | \.vault_pass.*
    | \.?credentials(?:[_-][^.]*)?(?:\.(?:json|ya?ml|toml|ini|cfg|conf|xml|csv|txt|properties|db|enc|plist))?
    | secrets?\.(?:ya?ml|json|toml|ini|properties)
    | service[_-]?account.*\.json | client_secret.*\.json
    """,
    re.VERBOSE | re.DOTALL,
)
# An editor's or a person's copy of a secret is one too.
_COPY = re.compile(r"(?:~|\.(?:bak|old|orig|save|swp|swo|tmp|copy))+\Z")


def is_version_control(path: str) -> bool:
    """Whether a path relative to its root is version control's own: hooks, configuration, credentials. Those no approval opens: nothing a
    task needs is there that git's own commands do not give, and what is written there runs.

    >>> is_version_control("sub/.Git/config"), is_version_control(".gitignore")
    (True, False)
    """
    return not VERSION_CONTROL.isdisjoint(path.casefold().split("/"))


def is_secret(path: str) -> bool:
    """Whether a path relative to its root names a secret.

    >>> [is_secret(p) for p in ("api/.env.local", "deploy/id_rsa", ".git/config", "src/credentials.py", "src/env.py")]
    [True, True, True, False, False]
    """
    # Case is folded because the same name opens the same file on macOS.
    *folders, name = path.casefold().split("/")
    if not _FOLDERS.isdisjoint(folders) or name in _FOLDERS:
        return True
    if name == "config.json" and folders and folders[-1] == ".docker":
        return True
    if _NAMES.fullmatch(name):
        return True
    bare = _COPY.sub("", name)
    # An editor's swap file of id_rsa is .id_rsa.swp.
    return bare != name and any(_NAMES.fullmatch(n) for n in (bare, bare.lstrip(".")))
