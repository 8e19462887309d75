"""Writes the tables of the reference from the code, between `<!-- generated: NAME -->` and `<!-- end -->`.

python docs/generate.py            brings docs/reference up to date
python docs/generate.py --check    says which files are not, and fails
"""

from __future__ import annotations

import ast
import inspect
import json
import re
import sys
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from pydantic import BaseModel

HERE = Path(__file__).parent
_BLOCK = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.S)
_SPANS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
_SIZES = ((1024**3, "GiB"), (1024**2, "MiB"), (1024, "KiB"))


def settings() -> str:
    """Every setting: how it is given, its default, what it is."""
    from reconvene.config import Settings

    rows = [("Setting", "Environment", "Default", "What it is")]
    docs = field_docs(Settings)
    for name, field in Settings.model_fields.items():
        if name in ("limits", "origins"):
            continue
        default = "the platform's user data folder" if name == "data_dir" else shown(field.default, field.metadata)
        rows.append((f"`{name}`", f"`RECONVENE_{name.upper()}`", default, docs[name] + choices(field.annotation)))
    return table(rows)


def limits() -> str:
    """Every limit and its default."""
    from reconvene.config import Limits

    docs = field_docs(Limits)
    rows = [("Limit", "Default", "What it is")]
    rows += [(f"`{name}`", shown(f.default, f.metadata), docs[name]) for name, f in Limits.model_fields.items()]
    return table(rows)


def errors() -> str:
    """Every error code."""
    from reconvene.errors import KINDS

    rows = [("Code", "HTTP", "Closes with", "Try again", "What it means")]
    for code, kind in KINDS.items():
        rows.append(
            (f"`{code}`", str(kind.status), str(kind.close or ""), "yes" if kind.retryable else "", kind.meaning)
        )
    return table(rows)


def events() -> str:
    """Every durable event and its content."""
    from reconvene.protocol.events import CONTENTS

    return "\n".join(model(name, content) for name, content in CONTENTS.items())


def frames() -> str:
    """Every frame of the client and of the server."""
    from reconvene.protocol.frames import CLIENT_FRAMES, SERVER_FRAMES

    parts = ["### From the client\n"]
    parts += [model(name, frame, skip=("type",)) for name, frame in CLIENT_FRAMES.items()]
    parts.append("### From the server\n")
    for frame in SERVER_FRAMES:
        kind = typing.get_args(frame.model_fields["type"].annotation)[0]
        content = frame.model_fields["content"].annotation
        assert inspect.isclass(content)
        parts.append(model(kind, content))
    return "\n".join(parts)


def cli() -> str:
    """The help of every command."""
    from typer.main import get_command

    from reconvene.cli.main import app

    def walk(command: Any, context: Any) -> Iterator[str]:
        if inner := getattr(command, "commands", None):
            for name, sub in inner.items():
                yield from walk(sub, context_of(sub, name, context))
            return
        yield f"### `{context.command_path}`\n\n```text\n{command.get_help(context).rstrip()}\n```\n"

    def context_of(command: Any, name: str, parent: Any) -> Any:
        return command.context_class(command, info_name=name, parent=parent, terminal_width=100, max_content_width=100)

    top = get_command(app)
    return "\n".join(walk(top, context_of(top, "reconvene", None)))


def http() -> str:
    """Every address of the HTTP API."""
    from reconvene.config import Limits
    from reconvene.server.api import build_api
    from reconvene.server.metrics import Metrics

    sessions = SimpleNamespace(roots=None, on_gone=[])
    settings = SimpleNamespace(limits=Limits(), data_dir=Path())
    shell = SimpleNamespace(version="0", metrics=Metrics(), sessions=sessions, settings=settings, on_close=[])
    described = build_api(typing.cast(Any, shell)).openapi()
    rows = [("Method", "Address", "What it does")]
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            text = operation.get("description") or operation.get("summary", "")
            rows.append((method.upper(), f"`{path}`", " ".join(text.split())))
    return table(rows)


GENERATED: dict[str, Callable[[], str]] = {f.__name__: f for f in (settings, limits, errors, events, frames, cli, http)}


def table(rows: list[tuple[str, ...]]) -> str:
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]]) + "\n"


def model(name: str, content: type[BaseModel], skip: tuple[str, ...] = ()) -> str:
    """A heading, the docstring and the fields of one event or frame."""
    docs = field_docs(content)
    text = inspect.cleandoc(content.__doc__ or "") if content.__doc__ not in (None, BaseModel.__doc__) else ""
    lines = [f"#### `{name}`\n"]
    if text and "Usage docs:" not in text:
        lines.append(text + "\n")
    for field_name, field in content.model_fields.items():
        if field_name in skip:
            continue
        default = field.get_default(call_default_factory=True)
        needed = "" if field.is_required() or default is None else f" (default `{json.dumps(default, default=dict)}`)"
        said = f": {docs[field_name]}" if docs.get(field_name) else ""
        lines.append(f"* `{field_name}` {typename(field.annotation)}{needed}{said}")
    return "\n".join(lines) + "\n"


def typename(annotation: Any) -> str:
    """A type for people: `text or null`, `list of …`."""
    if annotation is None or annotation is type(None):
        return "null"
    name = getattr(annotation, "__name__", "")
    if name == "JsonValue" or annotation is Any:
        return "any JSON"
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return typename(args[0])
    if origin is typing.Literal:
        return " or ".join(f"`{a}`" for a in args)
    if origin in (list, tuple):
        return f"list of {typename(args[0])}"
    if origin is dict or annotation is dict:
        return "object"
    if args:
        return " or ".join(dict.fromkeys(typename(a) for a in args))
    known = {str: "text", int: "integer", float: "number", bool: "true or false"}
    if annotation in known:
        return known[annotation]
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return "{" + ", ".join(annotation.model_fields) + "}"
    return name or str(annotation)


def choices(annotation: Any) -> str:
    if typing.get_origin(annotation) is typing.Literal:
        return f" One of {', '.join(f'`{a}`' for a in typing.get_args(annotation))}."
    return ""


def shown(value: Any, metadata: list[Any]) -> str:
    """A default for people: `10 min`, `2 GiB`."""
    from reconvene import config

    if value is None:
        return "none"
    if value in ((), []):
        return "empty"
    kinds = {getattr(m, "func", None) for m in metadata}
    if config.seconds in kinds:
        size, unit = next((s for s in _SPANS if value >= s[0] and value % s[0] == 0), _SPANS[-1])
        return f"{value / size:g} {unit}"
    if config.size in kinds:
        size, unit = next((s for s in _SIZES if value % s[0] == 0), (1, "bytes"))
        return f"{value // size:,} {unit}"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return (
        f"{value:,}"
        if isinstance(value, int) and value > 9999
        else f"`{value}`"
        if isinstance(value, str)
        else f"{value:g}"
    )


def field_docs(cls: type) -> dict[str, str]:
    """The docstrings that stand under a class's fields, its bases' too."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if not base.__module__.startswith("reconvene"):
            continue
        body = ast.parse(inspect.cleandoc("\n" + inspect.getsource(base))).body[0]
        assert isinstance(body, ast.ClassDef)
        for field, doc in zip(body.body, body.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(doc, ast.Expr):
                found[field.target.id] = " ".join(inspect.cleandoc(ast.literal_eval(doc.value)).split())
    return {name: found.get(name, "") for name in getattr(cls, "model_fields", {})}


def renewed(text: str) -> str:
    """A page with its generated parts made anew."""
    return _BLOCK.sub(lambda m: f"{m[1]}\n{GENERATED[m[2]]().strip()}\n\n{m[3]}", text)


def main() -> int:
    stale = []
    for path in sorted((HERE / "reference").glob("*.md")):
        old = path.read_text("utf-8")
        if (new := renewed(old)) != old:
            stale.append(path.name)
            if "--check" not in sys.argv:
                path.write_text(new, "utf-8")
    if stale:
        sys.stdout.write(f"{'out of date' if '--check' in sys.argv else 'written'}: {', '.join(stale)}\n")
    return 1 if stale and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
