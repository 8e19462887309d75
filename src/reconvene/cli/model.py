"""`model`: which model answers, and the key for it. A key is typed or piped, never an argument: arguments are seen by others."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from reconvene.cli import terminal
from reconvene.client.local import find
from reconvene.errors import ReconveneError


def model(
    data_dir: Path,
    name: str | None,
    *,
    key: bool,
    base_url: str | None,
    forget: str | None,
    constrained: bool = False,
    fallback: str | None = None,
    daily_cap: str | None = None,
    as_json: bool,
) -> None:
    """Show it, or change it. Holds from the next prompt on, also in a server that runs.

    Args:
        constrained: the model is asked for constrained steps, as if `constrained:` stood before its name.
        fallback: the model that takes over when the other one fails; `none` for none.
        daily_cap: US dollars a day; `none` for no cap.

    Raises:
        ReconveneError: `model_unknown`, `invalid_field`, `data_dir_unusable`.
    """
    changes = name is not None or forget is not None or fallback is not None or daily_cap is not None
    if (key or base_url or constrained) and name is None:
        raise ReconveneError(
            "invalid_field",
            "Say which model the key or the address is for: reconvene model openai:gpt-5 --key",
            path="model",
        )
    if not changes and (server := find(data_dir)) is not None:
        _print(server.call("GET", "/api/model"), as_json=as_json)
        return
    from reconvene.agents.providers import CONSTRAINED, Providers, provider_of
    from reconvene.config import Settings
    from reconvene.server.api_models import ModelChange
    from reconvene.server.model_choice import change_model, model_state

    settings = Settings.load({"data_dir": data_dir})
    if changes:
        data_dir.mkdir(0o700, parents=True, exist_ok=True)
    providers = Providers.of(settings)
    if forget is not None:
        change_model(providers, ModelChange(provider=forget, forget=True), False)
    if name is not None:
        if constrained and not name.startswith(CONSTRAINED):
            name = CONSTRAINED + name
        given = _key(provider_of(name)) if key else None
        change_model(providers, ModelChange(model=name, key=given, base_url=base_url), False)
    if fallback is not None:
        change_model(providers, ModelChange(fallback=None if fallback.lower() == "none" else fallback), False)
    if daily_cap is not None:
        change_model(providers, ModelChange(daily_cap=_dollars(daily_cap)), False)
    _print(model_state(providers).model_dump(), as_json=as_json)


def _print(now: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        terminal.emit(now)
        return
    cap, spent = now["daily_cap"], now["spent_today"]
    print(f"Model: {terminal.safe(now['model'])}")
    if now["fallback"]:
        print(f"When it fails: {terminal.safe(now['fallback'])}")
    if cap is not None or spent:
        print(f"Spent today: ${spent:.2f}{f' of ${cap:.2f}, the daily cap' if cap is not None else ''}")
    if cap is not None:
        from reconvene.agents.spending import price_known

        for unknown in [m for m in (now["model"], now["fallback"]) if m and m != "offline" and not price_known(m)]:
            terminal.say(
                f"The price of {terminal.safe(unknown)} is not known here, so its use does not count to the cap."
            )
    for state in now["providers"]:
        has = "key set" if state["key"] else "no key"
        at = f", {terminal.safe(state['base_url'])}" if state["base_url"] else ""
        print(f"  {state['provider']}: {has}{at}")


def _dollars(text: str) -> float | None:
    """
    >>> _dollars("$5"), _dollars("none")
    (5.0, None)
    """
    if text.strip().lower() in ("none", "off"):
        return None
    try:
        usd = float(text.strip().removeprefix("$"))
    except ValueError:
        usd = 0.0
    if not 0 < usd < 1e6:
        raise ReconveneError(
            "invalid_field", "A daily cap is an amount of US dollars, such as 5, or none.", path="daily_cap"
        )
    return usd


def _key(provider: str) -> str:
    if sys.stdin.isatty():
        from getpass import getpass

        given = getpass(f"Key for {terminal.safe(provider)}: ", sys.stderr).strip()
    else:
        given = sys.stdin.readline().strip()
    if not given:
        raise ReconveneError(
            "invalid_field", f"No key for {terminal.safe(provider)} was typed or piped. Nothing changed."
        )
    return given
