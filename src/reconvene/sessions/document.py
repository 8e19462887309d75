"""A session as a document: Markdown for reading and quoting, HTML in one file that loads nothing."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from reconvene.protocol.lines import tool_line, unified
from reconvene.protocol.view import Item, View

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:50rem;margin:2rem auto;padding:0 1rem}"
    "pre{white-space:pre-wrap;overflow-wrap:anywhere;font:inherit}"
    "pre.diff,pre.step{font:14px/1.4 ui-monospace,monospace}pre.step{opacity:.7;margin:.2rem 0}"
    "h2{font-size:1rem;border-top:1px solid #8885;padding-top:1rem}"
)


@dataclass(frozen=True, slots=True)
class Part:
    """`person`: what somebody asked; `text`: an answer; `step`: a line about what was done; `diff`."""

    kind: Literal["person", "text", "step", "diff"]
    text: str


def parts(view: View) -> Iterator[Part]:
    """What a reader wants of a session, in order."""
    for item in view.items.values():
        match item["type"]:
            case "prompt" if not item["removed"]:
                yield Part("person", item["text"])
            case "text" if item["kind"] == "text":
                yield Part("text", item["text"])
            case "tool" if item["result"] is not None:
                yield Part("step", tool_line(item))
            case "question" | "confirmation":
                yield Part("step", f"{item['text']} → {_answer(item)}")
            case "diff":
                yield Part("diff", unified(item))
                yield Part("step", f"the change above: {_answer(item)}")
            case "error":
                yield Part("step", f"error: {item['content']['message']}")


def _answer(item: Item) -> str:
    settled = item["settled"]
    if settled is None:
        return "not answered"
    said = settled.get("verdict", settled.get("answer"))
    return {True: "yes", False: "no"}[said] if isinstance(said, bool) else str(said)


def markdown(title: str, view: View) -> str:
    """
    >>> markdown("Sweeping", View())
    '# Sweeping\\n'
    """
    blocks = [f"# {' '.join(title.split())}"]
    for part in parts(view):
        if part.kind == "person":
            blocks.append("\n".join(f"> {line}".rstrip() for line in part.text.splitlines()))
        elif part.kind == "diff":
            fence = _fence(part.text)
            blocks.append(f"{fence}diff\n{part.text}{fence}")
        else:
            blocks.append(
                part.text.strip("\n") if part.kind == "text" else f"*{part.text.replace('*', chr(92) + '*')}*"
            )
    return "\n\n".join(blocks) + "\n"


def _fence(text: str) -> str:
    fence = "```"
    while fence in text:
        fence += "`"
    return fence


def page(title: str, view: View) -> str:
    """One HTML file. Everything of the session is text in it: nothing runs, nothing is loaded."""
    shown = "".join(
        f"<h2>{html.escape(part.text)}</h2>"
        if part.kind == "person"
        else f'<pre class="{part.kind}">{html.escape(part.text)}</pre>'
        for part in parts(view)
    )
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{policy}">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head><body><h1>{html.escape(title)}</h1>{shown}</body></html>\n"
    )


DOCUMENTS: dict[str, Callable[[str, View], str]] = {"markdown": markdown, "html": page}
