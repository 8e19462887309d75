"""For `mkdocs.yml`: SECURITY.md and CHANGELOG.md stand at the top of the repository, where people look, and are pages of the site, too."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

TOP = ("SECURITY.md", "CHANGELOG.md")


def on_files(files: Any, config: Any) -> Any:
    repository = Path(config.config_file_path).parent
    for name in TOP:
        files.append(File.generated(config, name, content=(repository / name).read_text("utf-8")))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links between those pages and the others, as they are on the site."""
    if page.file.src_uri in TOP:
        return re.sub(r"\]\(docs/", "](", markdown)
    return re.sub(rf"\]\((?:\.\./)+({'|'.join(map(re.escape, TOP))})", _upwards(page.file.src_uri), markdown)


def _upwards(page: str) -> str:
    return "](" + "../" * page.count("/") + r"\1"
