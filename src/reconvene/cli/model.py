"""`model`: which model answers, and the key for it. A key is typed or piped, never an argument: arguments are seen by others."""

from __future__ import annotations

import sys
from pathlib import Path

import typer

from reconvene.agents.providers import CONSTRAINED, Providers, provider_of
from reconvene.cli import terminal
from reconvene.config import Settings
from reconvene.errors import ReconveneError
from reconvene.server.api_models import ModelChange
from reconvene.server.model_choice import change_model, model_state


def model(
    data_dir: Path,
    name: str | None,
    *,
    key: bool,
    base_url: str | None,
    forget: str | None,
    constrained: bool = False,
    as_json: bool,
) -> None:
    """Show it, or change it. Holds from the next prompt on, also in a server that runs.

    Args:
        constrained: the model is asked for constrained steps, as if `constrained:` stood before its name.

    Raises:
        ReconveneError: `model_unknown`, `invalid_field`, `data_dir_unusable`.
    """
    settings = Settings.load({"data_dir": data_dir})
    data_dir.mkdir(0o700, parents=True, exist_ok=True)
    providers = Providers(data_dir, settings.model)
    if forget is not None:
        change_model(providers, ModelChange(provider=forget, forget=True), False)
    if (key or base_url or constrained) and name is None:
        raise ReconveneError(
            "invalid_field",
            "Say which model the key or the address is for: reconvene model openai:gpt-5 --key",
            path="model",
        )
    if name is not None:
        if constrained and not name.startswith(CONSTRAINED):
            name = CONSTRAINED + name
        given = _key(provider_of(name)) if key else None
        change_model(providers, ModelChange(model=name, key=given, base_url=base_url), False)
    now = model_state(providers)
    if as_json:
        terminal.emit(now.model_dump())
        return
    terminal.say(f"Model: {terminal.safe(now.model)}")
    for state in now.providers:
        has = "key set" if state.key else "no key"
        terminal.say(f"  {state.provider}: {has}{f', {terminal.safe(state.base_url)}' if state.base_url else ''}")


def _key(provider: str) -> str:
    if sys.stdin.isatty():
        return str(typer.prompt(f"Key for {terminal.safe(provider)}", hide_input=True)).strip()
    return sys.stdin.readline().strip()
