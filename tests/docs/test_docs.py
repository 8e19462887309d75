"""The documentation says everything there is, and nothing that is not."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]
DOCS = REPOSITORY / "docs"
REFERENCE = sorted((DOCS / "reference").glob("*.md"))
PAGES = [REPOSITORY / "README.md", *sorted(DOCS.rglob("*.md"))]


def load_generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


generate = load_generator()


def text(name: str) -> str:
    return (DOCS / name).read_text("utf-8")


@pytest.mark.parametrize("page", REFERENCE, ids=lambda p: p.stem)
def test_the_tables_are_those_of_the_code(page: Path) -> None:
    old = page.read_text("utf-8")
    assert generate.renewed(old) == old, "run: .venv/bin/python docs/generate.py"


def test_every_table_has_its_place() -> None:
    placed = {m[2] for page in REFERENCE for m in generate._BLOCK.finditer(page.read_text("utf-8"))}
    assert placed == set(generate.GENERATED)


def test_mutation_a_setting_that_is_not_in_the_docs_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    from reconvene.errors import KINDS, Kind

    monkeypatch.setitem(KINDS, "brand_new", Kind(400, meaning="New."))
    with pytest.raises(AssertionError, match="generate"):
        test_the_tables_are_those_of_the_code(DOCS / "reference/errors.md")


def test_every_setting_and_limit_says_what_it_is() -> None:
    from reconvene.config import Limits, Settings

    for cls, page in ((Settings, "reference/settings.md"), (Limits, "reference/limits.md")):
        docs = generate.field_docs(cls)
        for name in set(cls.model_fields) - {"limits", "origins"}:
            assert docs[name], f"{cls.__name__}.{name} has no docstring"
            assert f"| `{name}` |" in text(page)


def test_every_error_is_there_and_says_what_it_means() -> None:
    from reconvene.errors import KINDS

    page = text("reference/errors.md")
    for code, kind in KINDS.items():
        assert f"| `{code}` |" in page
        assert kind.meaning.endswith("."), code


def test_every_event_and_frame_is_there() -> None:
    from reconvene.protocol.events import CONTENTS
    from reconvene.protocol.frames import CLIENT_FRAMES

    headings = set(re.findall(r"^#### `(\w+)`", text("reference/events.md"), re.M))
    assert set(CONTENTS) | set(CLIENT_FRAMES) <= headings
    assert {"session", "ack", "nack", "snapshot", "batch", "hb", "pong", "goodbye", "notice"} <= headings


def commands() -> Iterator[tuple[str, Any]]:
    from typer.main import get_command

    from reconvene.cli.main import app

    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        inner = getattr(command, "commands", None)
        yield from ((f"{name} {n}", c) for n, c in inner.items()) if inner else ((name, command),)


def test_every_command_is_there_and_takes_a_data_folder() -> None:
    page = text("reference/cli.md")
    for name, command in commands():
        assert f"### `reconvene {name}`" in page
        assert "--data-dir" in {o for p in command.params for o in p.opts}, name


def test_every_address_is_there() -> None:
    """Those of the API are generated, and looked at with the tables; these are the others."""
    from reconvene.adapters import endpoints
    from reconvene.server import app
    from reconvene.server.gate import OPEN_PATHS

    page = text("reference/http.md")
    compared = re.findall(r'path == "(/[^"]+)"', Path(app.__file__).read_text("utf-8"))
    assert {"/healthz", "/metrics"} <= set(compared)
    adapters = endpoints(None)  # type: ignore[arg-type]  # none of them is made
    for path in (app.PATH, *OPEN_PATHS, *compared, *adapters, *app.SIGN_IN_PATHS, next(iter(app.SAMPLE_PATHS))):
        assert f"`{path}" in page, path


def test_every_dependency_has_a_reason() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))
    extras = project["project"].get("optional-dependencies", {}).values()
    python = [
        d
        for group in (project["project"]["dependencies"], *extras, *project["dependency-groups"].values())
        for d in group
    ]
    web = json.loads((REPOSITORY / "web/package.json").read_text("utf-8"))
    names = {re.split(r"[\[=<>~ ;]", d)[0] for d in python} | {
        *web.get("dependencies", {}),
        *web.get("devDependencies", {}),
    }
    named = set(re.findall(r"^\| ((?:`[^`]+`(?:, )?)+) \|", text("explanation/dependencies.md"), re.M))
    listed = {n for cell in named for n in re.findall(r"`([^`]+)`", cell)}
    assert names - listed == set(), "without a reason"
    assert listed - names == set(), "no dependency any more"


def test_make_targets_that_are_named_exist() -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*(?: [a-z-]+)*):", (REPOSITORY / "Makefile").read_text("utf-8"), re.M))
    known = {t for line in targets for t in line.split()}
    for page in PAGES:
        said = page.read_text("utf-8")
        blocks = "\n".join(re.findall(r"```sh\n(.*?)```", said, re.S))
        in_blocks = re.findall(r"^(?:[A-Z_]+=\S+ )*make (\w+)", blocks, re.M)
        assert {*in_blocks, *re.findall(r"`make ([\w-]+)", said)} <= known, page.name


def test_commands_that_are_named_exist() -> None:
    known = {name for name, _ in commands()} | {"sessions", "mcp-servers", "users", "--help", "--install-completion"}
    for page in PAGES:
        said = page.read_text("utf-8")
        blocks = re.findall(r"```sh\n(.*?)```", said, re.S)
        lines = [line for block in blocks for line in block.splitlines()] + re.findall(
            r"`([^`\n]*reconvene [^`\n]*)`", said
        )
        for line in lines:
            for words in re.findall(r"(?:^|[/ ])reconvene ((?:(?:sessions|mcp-servers|users) )?[a-z-]+)", line):
                if "alias" not in line and "cd reconvene" not in line and "…" not in words:
                    assert words in known, f"{page.name}: {line}"


def test_options_that_are_shown_exist() -> None:
    options = {name: {o for p in command.params for o in (*p.opts, *p.secondary_opts)} for name, command in commands()}
    for page in PAGES:
        for block in re.findall(r"```sh\n(.*?)```", page.read_text("utf-8"), re.S):
            for line in block.splitlines():
                if found := re.search(
                    r"(?:^|[/| ])reconvene ((?:(?:sessions|users|mcp-servers) )?[a-z-]+)(.*)",
                    line.replace("$PWD/.venv/bin/reconvene", "").split(" -- ")[0],
                ):
                    used = {w for w in shlex.split(found[2], comments=True) if w.startswith("-") and w != "-"}
                    assert used <= options[found[1]], f"{page.name}: {line}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text("utf-8")):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), target


def test_the_sample_is_the_one_that_is_served() -> None:
    """PROTOCOL's sample stands in the docs to the letter, and so on the page at /sample."""
    (sample,) = re.findall(r"```js\n(.*?)```", text("explanation/protocol.md"), re.S)
    served = "".join(
        p.read_text("utf-8") for p in (REPOSITORY / "src/reconvene/server/sample").iterdir() if p.is_file()
    )
    squeeze = re.compile(r"\s+")
    core = squeeze.sub(" ", sample.split("// other types")[0]).strip()
    assert core in squeeze.sub(" ", served)


def test_the_version_is_in_the_changelog() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))
    assert project["project"]["version"] in (REPOSITORY / "CHANGELOG.md").read_text("utf-8")


def test_every_action_is_described() -> None:
    from reconvene.sessions.actions import ACTIONS

    page = (DOCS / "reference/events.md").read_text().split("## Actions")[1]
    named = set(
        re.findall(r"`([a-z_]+)`", " ".join(line.split("|")[1] for line in page.splitlines() if line.startswith("|")))
    )
    assert named == {*ACTIONS, "fork"}


def test_every_page_is_on_the_site() -> None:
    """`make docs` is not part of the tests: it needs packages of its own. What it would fail for is looked at here, and below."""
    named = set(re.findall(r": ([\w/-]+\.md)$", (REPOSITORY / "mkdocs.yml").read_text("utf-8"), re.M))
    there = {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")}
    assert named == there | {"SECURITY.md", "CHANGELOG.md"}


def slugs(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and the site make them."""
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.S)
    plain = [re.sub(r"[^\w\s-]", "", heading.lower()).strip() for heading in re.findall(r"^#+ (.+)$", text, re.M)]
    return {re.sub(r"\s", "-", heading) for heading in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_links_to_headings_lead_to_one(page: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#\s:]*)#([^)\s]+)\)", page.read_text("utf-8")):
        other = page if not target else page.parent / target
        assert anchor in slugs(other), f"{target}#{anchor}"


def test_every_metric_is_described() -> None:
    from reconvene.server.metrics import Metrics

    page = text("how-to/metrics-and-traces.md")
    metrics = Metrics()
    for family in metrics.families():
        assert family.name in page, family.name
    app = (REPOSITORY / "src/reconvene/server/app.py").read_text("utf-8")
    for name in re.findall(r'metrics\.gauge\("(\w+)"', app):
        assert name in page, name


def test_the_tests_that_are_named_exist() -> None:
    files = list((REPOSITORY / "tests").rglob("test_*.py"))
    there = {path.name for path in files}
    functions = {name for path in files for name in re.findall(r"def (test_\w+)", path.read_text("utf-8"))}
    for page in PAGES:
        text = page.read_text("utf-8")
        named = set(re.findall(r"`(?:[\w/]*/)?(test_\w+\.py)", text))
        assert named <= there, f"{page.name}: {named - there}"
        single = set(re.findall(r"(?:`|::)(test_\w+)`", text))
        assert single <= functions, f"{page.name}: {single - functions}"
