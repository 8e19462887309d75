from __future__ import annotations

import doctest

import pytest

from reconvene.workspace import secret_files
from reconvene.workspace.secret_files import is_secret

SECRETS = [
    ".env", ".env.local", "api/.env.production", ".ENV", ".envrc", "prod.env", ".env~", ".env.swp", "server.pem",
    "tls/server.KEY", "cert.p12", "cert.pfx", "store.jks", "vault.kdbx", "android.keystore", "putty.ppk", "id_rsa",
    "id_rsa.pub", ".ssh/id_ed25519", "keys/id_ecdsa.old", ".id_rsa.swp", "id_ed25519_sk", ".netrc", "_netrc",
    ".pgpass", ".npmrc", "web/.npmrc", ".pypirc", ".htpasswd", ".dockercfg", ".git-credentials", ".vault-token",
    "credentials", "credentials.json", ".credentials", "credentials.json.bak", "credentials-prod.yml", ".aws/config",
    ".aws/sso/cache/x", ".kube/config", ".docker/config.json", ".gnupg/pubring.kbx", "terraform.tfstate",
    "terraform.tfstate.backup", "prod.tfvars", "prod.auto.tfvars.json", "secrets.yml", "secrets.yaml", "secret.json",
    ".streamlit/secrets.toml", "service-account-1.json", "client_secret_1.apps.json", ".git", ".git/config",
    "sub/.git/HEAD", ".hg/hgrc", ".svn/entries", ".jj/repo", ".GIT/config",
]  # fmt: skip

CODE = [
    "env.py", "environment.ts", "src/id_map.go", "id_generator.py", "credentials.py", "credentials_test.go",
    "credentials/main.rs", "secrets.py", "secret_store.go", "keys.py", "monkey.py", "key", "turnkey/readme.md",
    "keyboard.json", "docker/config.json", ".github/workflows/ci.yml", ".gitignore", ".gitattributes", ".gitmodules",
    "git/config", "pem.c", "npmrc", "netrc.py",
]  # fmt: skip


@pytest.mark.parametrize("path", SECRETS, ids=[f"bad90-{p}" for p in SECRETS])
def test_a_secret_is_known_by_its_name(path: str) -> None:
    assert is_secret(path)


@pytest.mark.parametrize("path", CODE)
def test_code_about_secrets_is_code(path: str) -> None:
    assert not is_secret(path)


def test_examples() -> None:
    assert doctest.testmod(secret_files).failed == 0
