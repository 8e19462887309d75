"""An ACP prompt, which is a list of blocks, as the text that a session takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

from reconvene.errors import ReconveneError


def as_text(blocks: Sequence[Any], root: str) -> str:
    """Args:
        blocks: the library's content blocks.
        root: absolute path of the code base; files in it are named by their path in it.

    Raises:
        ReconveneError: `invalid_field` for images, sound and binary data.
    """
    parts: list[str] = []
    quoted: list[str] = []
    for n, block in enumerate(blocks):
        match block.type:
            case "text":
                parts.append(block.text)
            case "resource_link":
                parts.append(f"`{_name(block.uri, root)}`")
            case "resource" if getattr(block.resource, "text", None) is not None:
                name = _name(block.resource.uri, root)
                parts.append(f"`{name}`")
                fence = "`" * max(3, _longest_run(block.resource.text) + 1)
                quoted.append(f"{name}:\n{fence}\n{block.resource.text.rstrip()}\n{fence}")
            case kind:
                raise ReconveneError(
                    "invalid_field", f"A prompt is text and files; {kind} cannot be read here.", path=f"prompt[{n}]"
                )
    text = "\n\n".join(["".join(parts), *quoted])
    if "\0" in text:
        raise ReconveneError("invalid_field", r"A prompt must not contain \u0000.", path="prompt")
    return text


def _name(uri: str, root: str) -> str:
    """
    >>> _name("file:///code/a%20b.py#L3", "/code")
    'a b.py:3'
    """
    parts = urlsplit(uri)
    if parts.scheme not in ("", "file"):
        return uri
    path = unquote(parts.path).removeprefix(f"{root.rstrip('/')}/")
    first, _, last = parts.fragment.partition(":")
    lines = [w.removeprefix("L") for w in (first, last) if w.removeprefix("L").isdigit()]
    return f"{path}:{'-'.join(lines)}" if lines else path


def _longest_run(text: str) -> int:
    longest = run = 0
    for character in text:
        run = run + 1 if character == "`" else 0
        longest = max(longest, run)
    return longest
