"""What keeps people from using a view: axe-core's rules for WCAG 2.2 AA, run in the page."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Literal

from playwright.async_api import Page

AXE = Path(__file__).parents[2] / "web" / "node_modules" / "axe-core" / "axe.min.js"
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
Scheme = Literal["light", "dark"]
SCHEMES: tuple[Scheme, ...] = ("light", "dark")


_RUN = """async ([within, only]) => {
  const found = await window.axe.run(within ?? document, { runOnly: only, resultTypes: ['violations'], elementRef: true })
  // A target that is cut by the edge of a list that scrolls is whole once it is scrolled to, which focus does; how many sessions
  // other tests left decides which one that is.
  const cut = (element) => {
    const of = element.getBoundingClientRect()
    for (let box = element.parentElement; box; box = box.parentElement) {
      const at = box.getBoundingClientRect()
      if (/auto|scroll/.test(getComputedStyle(box).overflowY) && (of.top < at.top || of.bottom > at.bottom)) return true
    }
    return false
  }
  return { violations: found.violations.map(({ id, nodes }) => ({
    id,
    nodes: nodes.filter(({ element }) => id !== 'target-size' || !cut(element))
      .map(({ target, failureSummary }) => ({ target, failureSummary })),
  })) }
}"""


@cache
def _axe() -> str:
    return AXE.read_text("utf-8")


async def violations(page: Page, within: str | None = None, rule: str | None = None) -> list[str]:
    """What is wrong, as `rule: selector (why)`; of all of the page, or of what a selector names. `rule`: only this one is looked at."""
    if not await page.evaluate("'axe' in window"):
        # Evaluated, not added as a script: the page's policy allows none but its own.
        await page.evaluate(f"{{ {_axe()} }}")
    only = {"type": "tag", "values": TAGS} if rule is None else {"type": "rule", "values": [rule]}
    found: dict[str, Any] = await page.evaluate(_RUN, [within, only])
    return [
        f"{rule['id']}: {node['target'][0]} ({node['failureSummary'].splitlines()[-1].strip()})"
        for rule in found["violations"]
        for node in rule["nodes"]
    ]


async def clean(page: Page, within: str | None = None, view: str = "") -> None:
    """Nothing is wrong, in light and in dark. What changes between the two are colours, so the second look is for contrast alone."""
    for scheme, rule in zip(SCHEMES, (None, "color-contrast"), strict=True):
        await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        assert await violations(page, within, rule) == [], f"{view} {scheme}"
    await page.emulate_media(color_scheme=None)
