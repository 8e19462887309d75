"""What `reconvene doctor` says of the model, of the one that takes over, and of what a day may cost."""

from __future__ import annotations

from reconvene.agents.providers import Providers
from reconvene.agents.spending import Spending, price_known
from reconvene.cli.doctor import Finding
from reconvene.config import Settings
from reconvene.errors import ReconveneError


def model(settings: Settings) -> Finding:
    providers = Providers.of(settings)
    name = providers.model
    origin = settings.origins.get("model", "default") if name == settings.model else "reconvene model, or the page"
    if name.strip().lower() in ("", "offline"):
        return Finding(
            "model",
            True,
            f"offline ({origin}): answers are quoted from the code; `reconvene model NAME --key` sets a language model",
        )
    from reconvene.agents.models import resolve

    try:
        resolve(name, providers)  # asks the provider's own package what it needs; nothing is sent, and no key is shown
    except ReconveneError as e:
        return Finding(
            "model",
            False,
            f"{name} (from {origin}): {e.message}",
            "Do that where the server runs, then: reconvene restart",
        )
    return Finding("model", True, f"{name} (from {origin}); its key is set")


def fallback(settings: Settings) -> Finding:
    """The model that takes over, which nobody looks at until it is needed."""
    providers = Providers.of(settings)
    name = providers.fallback
    if not name:
        return Finding("fallback", True, "none: when the model fails, the run waits (reconvene model --fallback MODEL)")
    from reconvene.agents.models import resolve

    try:
        resolve(name, providers)
    except ReconveneError as e:
        fix = "Do that where the server runs, or: reconvene model --fallback none"
        return Finding("fallback", False, f"{name}: {e.message}", fix)
    same = name == providers.model
    return Finding(
        "fallback",
        not same,
        f"{name} takes over when the model fails"
        if not same
        else f"{name} is the model itself: it takes over from nobody",
        "reconvene model --fallback MODEL, with another one" if same else None,
    )


def daily_cap(settings: Settings) -> Finding:
    """What a day may cost, and whether all of it is counted."""
    providers = Providers.of(settings)
    cap, spent = providers.daily_cap, Spending(settings.data_dir, keep=False).today()
    if cap is None:
        return Finding("daily cap", True, f"none; ${spent:.2f} today (reconvene model --daily-cap 5 sets one)")
    told = f"${spent:.2f} of ${cap:.2f} today"
    named = [m for m in (providers.model, providers.fallback) if m and m != "offline"]
    unknown = [m for m in named if not price_known(m)]
    if unknown:
        fix = "Watch what it costs at its provider, or take a model whose price is known."
        return Finding(
            "daily cap", False, f"{told}, where {' and '.join(unknown)} counts nothing: no price is known", fix
        )
    if spent >= cap:
        return Finding(
            "daily cap",
            False,
            f"{told}: runs wait until midnight UTC",
            f"reconvene model --daily-cap {2 * cap:g}, to go on now",
        )
    return Finding("daily cap", True, told)
