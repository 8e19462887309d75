"""Every setting, once. Order: flag, environment (`RECONVENE_*`), `config.toml` in the data folder, default.

Nothing is ever read from a workspace.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import platformdirs
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError, field_validator

from reconvene.errors import ReconveneError

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZES = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3, "kib": 1024, "mib": 1024**2, "gib": 1024**3}


def seconds(value: object) -> object:
    """`90`, `"90"`, `"10m"`, `"1h"`, `"30d"` to seconds.

    >>> seconds("1h"), seconds("90"), seconds(5)
    (3600.0, 90.0, 5)
    """
    if isinstance(value, str) and (m := re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smhd]?)\s*", value)):
        return float(m[1]) * _UNITS[m[2] or "s"]
    return value


def size(value: object) -> object:
    """`"2GiB"`, `"500M"`, `1024` to bytes.

    >>> size("2 GiB"), size("500M"), size(7)
    (2147483648, 500000000, 7)
    """
    if isinstance(value, str) and (m := re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmg]?(?:ib)?)b?\s*", value, re.I)):
        unit = m[2].lower()
        if unit in _SIZES:
            return int(float(m[1]) * _SIZES[unit])
    return value


Seconds = Annotated[float, BeforeValidator(seconds)]
Bytes = Annotated[int, BeforeValidator(size)]


class Limits(BaseModel):
    """The one table of limits (`docs/reference/limits.md`). Over a limit is a typed error, never a skipped check."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    frame: Bytes = 1024**2
    """Bytes of one WebSocket frame or HTTP body."""
    prompt: Bytes = 200_000
    """UTF-8 bytes of one prompt."""
    json_depth: int = 32
    """Nesting of a frame's JSON."""
    messages_per_second: float = 30.0
    """Sustained client frames a second on one connection."""
    message_burst: int = 60
    """Client frames that may come at once."""
    connections_per_user: int = 32
    """Open WebSocket connections and event streams of one owner."""
    connections: int = 256
    """Open WebSocket connections and event streams in all."""
    handshakes_per_second: float = 50.0
    """More are answered 503 with Retry-After."""
    header: Bytes = 16 * 1024
    """Bytes of one request's headers."""
    header_time: Seconds = 5.0
    """A request whose headers are not complete by then is closed."""
    first_frame_time: Seconds = 10.0
    """A WebSocket that has not sent its first frame by then is closed with 4408."""
    send_time: Seconds = 20.0
    """A send without progress for so long ends the connection; it resumes later."""
    heartbeat: Seconds = 15.0
    """After so long without a frame the server sends `hb`."""
    file_read: Bytes = 1024**2
    """Bytes of a file that are read at once; more of it is paged."""
    indexed_file: Bytes = 1024**2
    """Larger files are listed but not searched."""
    line: Bytes = 20_000
    """A longer line is cut, and says so."""
    files: int = 1_000_000
    """Files of one code base; with more, the map and the index cover the first of them and say so."""
    search_hits: int = 200
    """Places one search may return."""
    pattern: Bytes = 1024
    """UTF-8 bytes of one search."""
    search_time: Seconds = 5.0
    """A search that takes longer is ended with what it has."""
    diff: Bytes = 1024**2
    """Bytes of one proposed change."""
    diff_files: int = 200
    """Files of one proposed change."""
    question_time: Seconds = 7 * 86400.0
    """Uptime, not wall clock, that a question waits for its answer."""
    batch_events: int = 64
    """Events in one batch to a client."""
    batch_bytes: Bytes = 64 * 1024
    """Bytes in one batch to a client."""
    lag_events: int = 2000
    """A client further behind gets a snapshot instead of what it missed."""
    lag_bytes: Bytes = 1024**2
    """The same in bytes."""
    model_requests: int = 50
    """Model requests of one run."""
    tool_calls: int = 200
    """Tool calls of one run."""
    run_tokens: int = 10_000_000
    """Tokens, in and out, of one run; 0 for no limit."""
    run_cost: float = 20.0
    """US dollars of one run, where its model's prices are known; 0 for no limit."""
    run_time: Seconds = 6 * 3600.0
    """Time that one run may take, without what it waits for a person; 0 for no limit."""
    explorers: int = 4
    """Sub-agents that look into questions at the same time; the others wait."""
    explorer_requests: int = 12
    """Model requests of one of them; the last is for its answer."""
    context: int = 128_000
    """Tokens that a model takes, for models whose size is not known; longer conversations are shortened for it."""
    command_time: Seconds = 600.0
    """A command that an agent runs is ended after this, or earlier if the agent said so."""
    command_output: Bytes = 64 * 1024
    """Of a command's output so much is kept from its beginning, and as much from its end."""
    parallel_tool_calls: int = 16
    """Tool calls of one model response; the rest are answered "limit"."""
    attempts_without_progress: int = 5
    """A run that is started again so often without getting further is failed, so that no crash loops for ever."""
    provider_retries: int = 3
    """Times a model request is asked again when its provider fails or asks to wait."""
    runs_of_node: int = Field(default=32, ge=1)
    """With several nodes: runs that one of them works on at once; the others wait, or go to another node."""
    runs_of_owner: int = Field(default=16, ge=0)
    """With several nodes: runs of one owner in one code base at once, on all of them; 0 for no limit."""
    runs_of_provider: int = Field(default=0, ge=0)
    """With several nodes: runs of one node at once whose model is of one provider; 0 for no limit."""
    model_idle: Seconds = 120.0
    """A model's stream that is silent for so long is cut and asked again."""


class Settings(BaseModel):
    """What a person can set. `Settings.load` reads it; `origins` tells where each value came from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data_dir: Path
    """Holds `reconvene.db`, `owner.token`, `indexes/`, `logs/`; only its owner can read it."""
    host: str = "localhost"
    """What to listen on: `localhost` is both loopbacks; any other address needs `public_url`."""
    port: int = Field(default=8000, ge=0, le=65535)
    """0 takes a free one."""
    model: str = "offline"
    """A pydantic-ai model name, or `offline`."""
    database: SecretStr | None = None
    """`postgresql://user:password@host/name` for several nodes on one database; without it, the data folder has one of its own."""
    takeover: Seconds = Field(default=15.0, ge=1)
    """With several nodes: runs of a node that is silent for so long are continued by others."""
    fallback: str | None = None
    """The model that takes over when the other one is overloaded, down or out of quota."""
    daily_cap: float | None = Field(default=None, gt=0)
    """US dollars that all runs of a day may cost; over it they wait for a higher cap, or the next day."""
    public_url: str | None = None
    """A further Host and Origin (tunnel, proxy, dev container)."""
    allowed_origins: tuple[str, ...] = ()
    """Other origins whose pages may speak to the server, exactly as a browser writes them."""
    oidc_issuer: str | None = None
    """The OpenID Connect provider whose accounts may sign in, as `https://…`; needs `oidc_client_id` and `oidc_allow`."""
    oidc_client_id: str | None = None
    """The name under which the provider knows this server."""
    oidc_client_secret: SecretStr | None = None
    """What the provider gave with it, if it gave one. Better in the environment than in the file."""
    oidc_allow: tuple[str, ...] = ()
    """Who of the provider's accounts may come in: addresses, `@domain`, or `*` for all."""
    recovery: Literal["auto", "ask", "never"] = "auto"
    """What happens to a run that a crash interrupted, unless its session says otherwise."""
    idle_unload: Seconds = 3600.0
    """The memory of a session that was idle for so long is freed; it stays resumable."""
    sweep_interval: Seconds = 600.0
    """How often idle sessions are looked for."""
    retention: Seconds = 30 * 86400.0
    """Sessions idle for so long are archived and then, if nobody comes back to them, deleted."""
    disk_budget: Bytes = 2 * 1024**3
    """Over it the sessions idle longest are archived, then deleted."""
    idle_exit: Seconds | None = None
    """A server started in the background stops after so long without a connection or a run."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """What goes to `logs/server.log`; warnings are shown on stderr too."""
    otlp_endpoint: str | None = Field(default=None, pattern="^https?://.")
    """Where traces and metrics are sent as OTLP over HTTP, such as `http://localhost:4318`; `OTEL_EXPORTER_OTLP_ENDPOINT` does the same."""
    otlp_content: bool = False
    """Whether prompts, answers, code and what tools are told go into traces; else they have names, counts and times only."""
    limits: Limits = Limits()
    origins: dict[str, str] = {}

    @field_validator("database")
    @classmethod
    def _is_postgresql(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith(("postgresql://", "postgres://")):
            raise ValueError("it is a URL like postgresql://user@host/name")
        return value

    @property
    def database_file(self) -> Path:
        """Where sessions are, unless `database` names another place."""
        return self.data_dir / "reconvene.db"

    @classmethod
    def load(cls, flags: Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None) -> Settings:
        """Settings from flags (None values are left out), environment, file and defaults.

        Raises:
            ReconveneError: `invalid_field`, naming the setting, its origin and what is accepted.
        """
        environ = os.environ if environ is None else environ
        flags = {k: v for k, v in (flags or {}).items() if v is not None}
        data_dir = (
            Path(flags.get("data_dir") or environ.get("RECONVENE_DATA_DIR") or default_data_dir())
            .expanduser()
            .absolute()
        )
        values: dict[str, Any] = {}
        limits: dict[str, Any] = {}
        origins: dict[str, str] = {}
        file = data_dir / "config.toml"
        if file.is_file():
            try:
                read = tomllib.loads(file.read_text("utf-8"))
            except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
                raise ReconveneError("invalid_field", f"{file} is not valid TOML: {e}. Mend or remove it.") from e
            limits |= read.pop("limits", {})
            values |= read
            origins |= dict.fromkeys(read, str(file)) | {f"limits.{k}": str(file) for k in limits}
        for name in cls.model_fields:
            if name in ("origins", "limits", "data_dir"):
                continue
            if (raw := environ.get(f"RECONVENE_{name.upper()}")) not in (None, ""):
                values[name] = raw.split(",") if name in ("allowed_origins", "oidc_allow") else raw
                origins[name] = f"RECONVENE_{name.upper()}"
        for name in Limits.model_fields:
            if (raw := environ.get(f"RECONVENE_LIMIT_{name.upper()}")) not in (None, ""):
                limits[name] = raw
                origins[f"limits.{name}"] = f"RECONVENE_LIMIT_{name.upper()}"
        for name, value in flags.items():
            values[name] = value
            origins[name] = f"--{name.replace('_', '-')}"
        values["data_dir"] = data_dir
        try:
            return cls(**values, limits=Limits(**limits), origins=origins)
        except ValidationError as e:
            first = e.errors()[0]
            name = ".".join(str(p) for p in first["loc"])
            where = origins.get(name) or origins.get(f"limits.{name}") or "settings"
            raise ReconveneError(
                "invalid_field", f"The setting {name} from {where} cannot be used: {first['msg']}.", field=name
            ) from e


def default_data_dir() -> Path:
    return Path(platformdirs.user_data_dir("reconvene", appauthor=False))
