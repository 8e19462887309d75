"""The model and its keys over HTTP: what may be set by whom, and what is told of it."""

from __future__ import annotations

from reconvene.agents.providers import Access, Providers, provider_of
from reconvene.agents.spending import Spending
from reconvene.errors import ReconveneError
from reconvene.server.api_models import ModelChange, ModelState, ProviderState


def model_state(providers: Providers) -> ModelState:
    known = [
        ProviderState(provider=name, key=access.key is not None, base_url=access.base_url)
        for name, access in sorted(providers.known().items())
    ]
    return ModelState(
        model=providers.model,
        fallback=providers.fallback,
        daily_cap=providers.daily_cap,
        spent_today=round(Spending(providers.data_dir, keep=False).today(), 4),
        providers=known,
    )


def change_model(providers: Providers, change: ModelChange, of_page: bool) -> None:
    """Carry out a change; a model that cannot be used is refused, with what it lacks. Blocking.

    Args:
        of_page: it comes from a browser: addresses outside of this machine are not taken.

    Raises:
        ReconveneError: `model_unknown`, `invalid_field`, `forbidden`.
    """
    provider = change.provider or provider_of(change.model or "")
    if (change.key or change.base_url or change.forget) and provider in ("", "offline"):
        raise ReconveneError("invalid_field", "Say for which provider: openai, anthropic, \u2026", path="provider")
    if change.forget:
        providers.allow(provider, None)
    elif change.key or change.base_url:
        known = providers.access(provider) or Access()
        # A key belongs to the address it was given for: another address does not inherit it.
        key = change.key or (known.key if change.base_url in (None, known.base_url) else None)
        address = change.base_url or (None if change.key and change.model else known.base_url)
        providers.allow(provider, Access(key, address), local_only=of_page)
    if "daily_cap" in change.model_fields_set:
        providers.cap(change.daily_cap)
    if "fallback" in change.model_fields_set:
        if change.fallback is not None:
            from reconvene.agents import models

            models.resolve(change.fallback, providers)
        providers.choose_fallback(change.fallback)
    if "model" in change.model_fields_set:
        if change.model is not None:
            from reconvene.agents import models

            models.resolve(change.model, providers)
        providers.choose(change.model)
