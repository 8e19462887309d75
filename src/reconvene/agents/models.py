"""Models by name, and what goes wrong with them as our errors. No sentence here ever holds a key, or what a provider says of one."""

from __future__ import annotations

import os
import platform
import re
import sys
import warnings
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pydantic_ai
from pydantic_ai import exceptions as broken
from pydantic_ai.models import Model, infer_model
from pydantic_ai.providers import Provider, infer_provider_class
from pydantic_ai.usage import UsageLimits

from reconvene.agents.providers import CONSTRAINED, Access, Providers, provider_of
from reconvene.agents.redact import know, redact_own
from reconvene.agents.scrub import scrub
from reconvene.config import Limits
from reconvene.errors import ReconveneError

pydantic_ai.BANNER_ENABLED = False

OFFLINE = "offline"
_VARIABLE = re.compile(r"`([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)`")
_EXTRA = re.compile(r"pydantic-ai-slim\[([\w-]+)\]")
_TOO_LONG = re.compile(r"context.{0,20}(?:length|window)|maximum.{0,20}tokens|too many tokens|prompt is too long", re.I)
_LIMIT = re.compile(r"(\w+)_limit of (\d+(?:\.\d+)?)")


def is_offline(name: str) -> bool:
    return name.strip().lower() in ("", OFFLINE)


def resolve(name: str, providers: Providers | None = None) -> Model:
    """The model of this name: `offline`, or any `provider:model` of pydantic-ai. Nothing is sent anywhere.

    Args:
        providers: keys and addresses that were set; None: the environment's alone.

    `constrained:` before the name: a model of a local server that enforces JSON schemas, see constrained.py.
    With `OPENAI_BASE_URL` set to another server than OpenAI's, `openai:` speaks Chat Completions, which is what such servers have.

    Raises:
        ReconveneError: `model_unknown`, saying which variable to set or which package to install.
    """
    name = name.strip()
    if is_offline(name):
        from reconvene.agents.offline import offline_model

        return offline_model()
    if name.startswith(CONSTRAINED):
        return _constrained(name.removeprefix(CONSTRAINED), providers)
    access = providers.access(provider_of(name)) if providers else None
    if name.startswith("openai:") and _other_server((access and access.base_url) or os.environ.get("OPENAI_BASE_URL")):
        name = name.replace("openai:", "openai-chat:", 1)
    if not name.partition(":")[2] and name != "test":
        raise _unknown(
            name, "A model is named `provider:model`, for example `anthropic:claude-sonnet-5-5`, or `offline`."
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _name_no_processor()
            return _strict(infer_model(name, _with(access)) if access else infer_model(name))
    except ImportError as e:
        extra = m[1] if (m := _EXTRA.search(str(e))) else name.partition(":")[0]
        install = f'pip install "pydantic-ai-slim[{extra}]=={pydantic_ai.__version__}"'
        raise _unknown(
            name, f"Its provider's package is not installed. Install it where Reconvene is: {install}."
        ) from e
    except Exception as e:
        raise _unknown(name, _advice(str(e))) from None


def _name_no_processor() -> None:
    """A provider's client tells what it runs on, and to find that out Python starts `uname -p` in our environment, keys and all."""
    vars(platform.uname()).setdefault("processor", "")


def _constrained(name: str, providers: Providers | None) -> Model:
    from reconvene.agents.constrained import Constrained

    if is_offline(name) or name.startswith(CONSTRAINED):
        raise _unknown(f"{CONSTRAINED}{name}", f"After {CONSTRAINED} comes the model, for example openai:qwen3.")
    return Constrained(_strict(resolve(name, providers), supports_json_schema_output=True))


def _with(access: Access) -> Callable[[str], Provider[Any]]:
    """How pydantic-ai makes a provider with what was set for it."""
    if access.key is not None:
        know(access.key)  # a provider may repeat it in what it says is wrong

    def made(name: str) -> Provider[Any]:
        wanted = {"api_key": access.key, "base_url": access.base_url}
        if access.key is None and access.base_url is not None:
            wanted["api_key"] = "none"  # servers on one's own machine ask for none, the client for any
        given: dict[str, Any] = {k: v for k, v in wanted.items() if v is not None}
        return infer_provider_class(name)(**given)

    return made


def _strict(model: Model, **profile: bool) -> Model:
    """The model, and of the Chat Completions kind one that takes a stream without a finish reason for what it is: cut short.

    Without the flag a truncated answer counts as whole, and a truncated tool call is executed with what arguments had come.
    """
    loaded = sys.modules.get("pydantic_ai.models.openai")
    if loaded is None or not isinstance(model, loaded.OpenAIChatModel):
        return model
    profile["openai_chat_streaming_requires_finish_reason"] = True
    return type(model)(model.model_name, provider=model.provider, profile=profile)  # type: ignore[no-any-return]


def usage_limits(limits: Limits, *, times: int = 1) -> UsageLimits:
    """pydantic-ai's limits for one run, `times` as much when a person let it go on. Tool calls are counted by `Bounds`.

    pydantic-ai's own limit of tool calls refuses a whole response when its calls do not all fit; ours runs those that do.
    """
    return UsageLimits(request_limit=limits.model_requests * times, tool_calls_limit=None)


def classify(exc: BaseException) -> ReconveneError:
    """What a failed model request is to us. `details`: `status`, `retry_after` (seconds) where the provider gave them.

    Codes: `provider_auth`, `provider_rate_limited`, `provider_unavailable`, `model_unknown`, `model_misbehaved`,
    `context_full`, `budget_exceeded`; `internal` for what has nothing to do with a model.
    """
    match exc:
        case ReconveneError():
            return exc
        case BaseExceptionGroup() if exc.exceptions:
            return classify(exc.exceptions[-1])
        case broken.UsageLimitExceeded():
            return _over_budget(exc)
        case broken.ModelAPIError():
            return _refused(exc)
        case broken.OutputTokenLimitExceeded():
            sentence = "The model used up its output tokens before it had said anything usable. Ask for less at once."
            return ReconveneError("model_misbehaved", sentence)
        case broken.ContentFilterError():
            sentence = "The provider's content filter stopped the answer. Ask in other words, or choose another model."
            return ReconveneError("model_misbehaved", sentence)
        case broken.UnexpectedModelBehavior():
            sentence = (
                f"The model's answers could not be used: {_said(exc.message)}. Try again, or choose another model."
            )
            return ReconveneError("model_misbehaved", sentence)
    if isinstance(exc, OSError) or type(exc).__module__.split(".")[0] in _TRANSPORTS:
        return ReconveneError("provider_unavailable", f"The provider does not answer ({type(exc).__name__}).")
    sentence = f"Something unforeseen ended the run ({type(exc).__name__}). The server's log has it; sending the prompt again may help."
    return ReconveneError("internal", sentence)


_TRANSPORTS = frozenset({"anthropic", "anyio", "httpcore", "httpcore2", "httpx", "httpx2", "openai", "ssl"})


def _refused(exc: broken.ModelAPIError) -> ReconveneError:
    status = exc.status_code if isinstance(exc, broken.ModelHTTPError) else None
    details = {"model": scrub(exc.model_name)} | ({"status": status} if status else {})
    model, said = scrub(exc.model_name), _said(_of_body(exc.body) or exc.message)
    if isinstance(exc, broken.ModelContextWindowExceededError) or (status in (400, 413) and _TOO_LONG.search(said)):
        sentence = (
            f"The conversation is longer than {model} can take. Start a new session, or choose a model with more room."
        )
        return ReconveneError("context_full", sentence, **details)
    if isinstance(exc, broken.ModelQuotaExceededError):
        sentence = (
            f"The account behind the key for {model} has no credit or quota left. Top it up, or choose another model."
        )
        return ReconveneError("provider_auth", sentence, **details, quota=True)
    if isinstance(exc, broken.ModelAuthenticationError) or status in (401, 403):
        sentence = f"The provider of {model} refused the key{f' ({status})' if status else ''}. Set a valid one with `reconvene model`."
        return ReconveneError("provider_auth", sentence, **details)
    if isinstance(exc, broken.ModelRateLimitError) or status == 429:
        wait = exc.retry_after
        asked = f" It asks to wait {wait:.0f} s." if wait else ""
        return ReconveneError(
            "provider_rate_limited",
            f"The provider of {model} gets too many requests from this account.{asked}",
            **details | ({"retry_after": wait} if wait else {}),
        )
    if isinstance(exc, broken.ModelNotFoundError) or status == 404:
        hint = (
            f" Did you mean {exc.suggested_model_id}?"
            if isinstance(exc, broken.ModelHTTPError) and exc.suggested_model_id
            else ""
        )
        sentence = (
            f"The provider has no model named {model}.{hint} Check RECONVENE_MODEL, and the base URL if you set one."
        )
        return ReconveneError("model_unknown", sentence, **details)
    if isinstance(exc, broken.ModelRequestTimeout | broken.ModelTimeoutError):
        return ReconveneError("provider_unavailable", f"The provider of {model} did not answer in time.", **details)
    if isinstance(exc, broken.ModelConnectionError):
        return ReconveneError(
            "provider_unavailable", f"The connection to the provider of {model} failed or broke off.", **details
        )
    wait = exc.retry_after
    return ReconveneError(
        "provider_unavailable",
        f"The provider of {model} answered with an error{f' ({status})' if status else ''}: {said}.",
        **details | ({"retry_after": wait} if wait else {}),
    )


def _over_budget(exc: broken.UsageLimitExceeded) -> ReconveneError:
    if m := _LIMIT.search(exc.message):
        what = {"request": "model requests", "cost": "cost"}.get(m[1], m[1].replace("_", " "))
        return ReconveneError("budget_exceeded", f"The run has used its limit of {m[2]} {what}.", limit=f"{m[1]}_limit")
    return ReconveneError("budget_exceeded", "The run has used one of its limits.")


def _of_body(body: object) -> str | None:
    """The provider's own sentence in the body of an error answer."""
    for _ in range(2):
        if not isinstance(body, dict):
            break
        message = body.get("message")
        if isinstance(message, str):
            return message
        body = body.get("error")
    return body if isinstance(body, str) else None


def _said(text: str) -> str:
    """A provider's words, short and without anything that looks like a key."""
    text = re.sub(r"\s+", " ", redact_own(scrub(text))).strip().rstrip(".")
    return text if len(text) <= 200 else f"{text[:199]}…"


def _advice(said: str) -> str:
    """How to make a model usable, from what pydantic-ai says of it."""
    names = list(dict.fromkeys(_VARIABLE.findall(said)))
    if names:
        example = " (for example http://localhost:11434/v1)" if names[0] == "OLLAMA_BASE_URL" else ""
        or_set = f"or set {names[0]}{example} in the server's environment and start it again."
        return f"Give a key with `reconvene model NAME --key` or on the page, {or_set}"
    if said.startswith("Unknown model"):
        hint = f" Did you mean {m[1]}?" if (m := re.search(r"Did you mean '([^']+)'", said)) else ""
        return f"There is no such provider or model.{hint}"
    return f"{_said(said)}."


def _unknown(name: str, advice: str) -> ReconveneError:
    # Somebody may have pasted a key where the name goes.
    shown = redact_own(scrub(name))[:100]
    return ReconveneError("model_unknown", f"The model {shown or '(empty)'} cannot be used. {advice}", model=shown)


def _other_server(base_url: str | None) -> bool:
    return base_url is not None and not (urlsplit(base_url).hostname or "openai.com").endswith("openai.com")
