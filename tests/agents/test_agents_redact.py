import pytest

from reconvene.agents.redact import redact, redact_own


@pytest.mark.parametrize(
    "secret",
    [
        "AKIAIOSFODNN7EXAMPLE",
        "ghp_" + "a1B2" * 9,
        "github_pat_" + "a" * 55,
        "xoxb-123456789012-abcdef",
        "sk-ant-api03-" + "x" * 30,
        "sk_live_" + "0" * 24,
        "AIza" + "b" * 35,
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0xx.c2lnbmF0dXJlZg",
    ],
    ids=[
        "bad91-aws",
        "bad91-github",
        "bad91-github-new",
        "bad91-slack",
        "bad91-anthropic",
        "bad91-stripe",
        "bad91-google",
        "bad91-jwt",
    ],
)
def test_secrets_in_source_are_hidden(secret: str) -> None:
    assert redact(f'key = "{secret}"  # used by x') == 'key = "[redacted]"  # used by x'


def test_a_private_key_is_hidden_and_the_lines_stay() -> None:
    text = "a\n-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc=\n-----END RSA PRIVATE KEY-----\nb"
    hidden = redact(text)
    assert "MIIE" not in hidden
    assert hidden.count("\n") == text.count("\n")
    assert hidden.endswith("-----END RSA PRIVATE KEY-----\nb")


@pytest.mark.parametrize(
    "code",
    ["token = os.environ['KEY']", "task-force-and-desk-chair-number", "git_sha = '" + "a1" * 20 + "'", "disk-usage"],
)
def test_code_is_left_as_it_is(code: str) -> None:
    assert redact(code) == code


def test_own_secrets_are_hidden_whatever_their_form(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "plainword")
    assert "plainword" not in redact_own("the key plainword is wrong")
    assert "abc" not in redact_own("Incorrect API key provided: abc*****xyz.")
    assert "abc" not in redact_own("Authorization: Bearer abc")
