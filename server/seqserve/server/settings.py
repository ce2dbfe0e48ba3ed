"""Settings of the server: every limit by name, with its unit and default.

Sources, in order of precedence: the command line, SEQSERVE_* variables (SEQSERVE_BATCH__SIZE_MAX=32 sets
batch.size_max), a TOML file (--config), the defaults in this module. An unknown key is an error, except for a variable:
other programs set SEQSERVE_* too (Kubernetes does for a service of that name), so a variable that resembles the name
of a setting only causes a warning.
"""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, Field, SecretStr, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

_PREFIX, _DELIMITER = "SEQSERVE_", "__"
_PORT_MAX = 65535


class BatchSettings(BaseModel, frozen=True, extra="forbid"):
    """How the engine of a model forms batches."""

    size_max: int = Field(
        default=128, ge=1, le=1024, description="Maximum number of sequences that run at a time, across all engines."
    )
    engines: int = Field(
        default=0,
        ge=0,
        le=64,
        description="Number of batches that run side by side, each on a thread. 0: one per processor, at most 4.",
    )
    queue_depth_max: int = Field(
        default=256, ge=1, description="Maximum number of sequences that wait before requests fail with QUEUE_FULL."
    )
    retry_after_s: float = Field(
        default=1.0, gt=0, description="How long refused callers are told to wait before they retry, in seconds."
    )
    prefill_length_max: int = Field(
        default=16,
        ge=1,
        description="Maximum number of steps in one prefill run, which is how long decoding pauses. Also the block "
        "size of the prefix cache.",
    )
    prefilling_max: int = Field(
        default=256,
        ge=1,
        description="Maximum number of sequences among which a prefill run picks those of similar length.",
    )
    prefill_tokens_max: int = Field(
        default=512, ge=1, description="Maximum size of one prefill run: steps times sequences."
    )
    inline_prefill_tokens_max: int = Field(
        default=32,
        ge=0,
        description="Inputs up to this number of tokens are consumed step by step in the decode batch instead of in a "
        "prefill run.",
    )
    slice_tokens: int = Field(
        default=256, ge=1, description="Number of tokens that a sequence generates before a waiting one takes its turn."
    )
    tokens_ahead_max: int = Field(
        default=256,
        ge=2,
        description="Maximum number of generated tokens that the caller has not read. Beyond it, the sequence pauses.",
    )
    open_streams_max: int = Field(
        default=1024,
        ge=1,
        description="Maximum number of open client streams, idle ones included, before new ones fail with QUEUE_FULL.",
    )
    steps_ahead_max: int = Field(
        default=256,
        ge=1,
        description="Maximum number of steps of a client stream whose answers the caller has not read. Beyond it, the "
        "stream pauses.",
    )
    prefix_cache_bytes_max: int = Field(
        default=64 << 20, ge=0, description="Maximum size of the states cached by prompt prefix, in bytes. 0: no cache."
    )


class LimitSettings(BaseModel, frozen=True, extra="forbid"):
    """Limits on a single request."""

    text_bytes_max: int = Field(default=1 << 20, ge=1, description="Maximum size of one input text, in bytes of UTF-8.")
    inputs_max: int = Field(default=256, ge=1, description="Maximum number of inputs in one request.")
    samples_max: int = Field(default=64, ge=1, description="Maximum number of samples, or beams, of one request.")
    stream_idle_s: float = Field(
        default=300, gt=0, description="How long a client stream may be without input before it is closed, in seconds."
    )
    stream_idle_max_s: float = Field(
        default=86400, gt=0, description="Maximum idle time that a caller may request instead, in seconds."
    )
    stream_unread_s: float = Field(
        default=300,
        gt=0,
        description="How long an answer may wait to be read before its stream is closed, in seconds.",
    )
    lookahead_max: int = Field(
        default=64, ge=0, description="Maximum look-ahead of a client stream of tags, in tokens."
    )
    decision_lag_max: int = Field(
        default=256,
        ge=0,
        description="Maximum number of tokens by which the decision of a CRF may lag in a client stream.",
    )
    message_bytes_max: int = Field(
        default=17 << 20,
        ge=1 << 16,
        description="Maximum size of one gRPC message, in bytes. Must be larger than a snapshot.",
    )


class SessionSettings(BaseModel, frozen=True, extra="forbid"):
    """Where sessions are stored, how many and for how long."""

    path: Path | None = Field(
        default=None, description="SQLite file that stores the sessions. Without it, memory or Redis stores them."
    )
    redis: str | None = Field(
        default=None,
        pattern=r"^(rediss?|unix)://.+",
        description="URL of the Redis server that stores the sessions: redis://, rediss:// or unix://.",
    )
    count_max: int = Field(default=100_000, ge=1, description="Memory only: maximum number of live sessions.")
    bytes_max: int = Field(
        default=256 << 20, ge=1 << 16, description="Memory only: maximum size of all sessions, in bytes."
    )
    durable_count_max: int = Field(
        default=10_000_000,
        ge=1,
        description="SQLite, Redis, and memory with its temporary file: maximum number of live sessions.",
    )
    durable_bytes_max: int = Field(
        default=64 << 30,
        ge=1 << 16,
        description="SQLite, Redis, and memory with its temporary file: maximum size of all sessions, in bytes.",
    )
    owner_count_max: int | None = Field(
        default=None, ge=1, description="Maximum number of live sessions of one owner. Without it, there is no limit."
    )
    owner_bytes_max: int | None = Field(
        default=None,
        ge=1 << 16,
        description="Maximum size of the sessions of one owner, in bytes. Without it, there is no limit.",
    )
    when_full: Literal["refuse", "evict", "spill"] = Field(
        default="refuse",
        description="Memory only: what happens when the store is full. refuse: new sessions fail with STORE_FULL. "
        "evict: the least recently used session is deleted. spill: it moves to a temporary file.",
    )
    ttl_default_s: float = Field(
        default=3600, gt=0, description="Default time to live of a session, counted from its last use, in seconds."
    )
    ttl_max_s: float = Field(
        default=30 * 86400, gt=0, description="Maximum time to live that a caller may request, in seconds."
    )
    grace_s: float = Field(
        default=86400,
        ge=0,
        description="How long expired sessions are reported as expired rather than not found, in seconds.",
    )
    sweep_interval_s: float = Field(
        default=10, gt=0, description="Interval at which expired sessions are removed, in seconds."
    )
    lease_s: float = Field(
        default=10,
        ge=1,
        description="Redis only: how long the sessions of a server that died stay locked, in seconds.",
    )
    checkpoints_max: int = Field(default=16, ge=0, description="Maximum number of checkpoints of one session.")
    snapshot_bytes_max: int = Field(default=16 << 20, ge=1 << 10, description="Maximum size of a snapshot, in bytes.")
    snapshot_key: SecretStr | None = Field(
        default=None,
        description="Key that signs snapshots. With a key, snapshots that it did not sign are refused. Prefer the "
        "variable: other users of the machine can see command lines.",
    )
    on_model_change: Literal["pin", "replay", "refuse"] = Field(
        default="pin",
        description="What happens to a session whose model has a newer version. pin: the session stays with its "
        "version. replay: the newest version reads the kept tokens again. refuse: requests fail with "
        "SERVABLE_MISMATCH.",
    )

    @property
    def signing_key(self) -> bytes | None:
        """The key that signs snapshots, or None if they are not signed."""
        return None if self.snapshot_key is None else self.snapshot_key.get_secret_value().encode()

    @model_validator(mode="after")
    def _check_one_store(self) -> Self:
        if self.path is not None and self.redis is not None:
            raise ValueError("path and redis are both set; sessions are stored in one place, so remove one of them")
        return self

    @model_validator(mode="after")
    def _check_ttl(self) -> Self:
        if self.ttl_default_s > self.ttl_max_s:
            raise ValueError(f"ttl_default_s must be at most ttl_max_s, {self.ttl_max_s:g}, got {self.ttl_default_s:g}")
        return self


class RuntimeSettings(BaseModel, frozen=True, extra="forbid"):
    """How ONNX Runtime loads and runs the graphs."""

    provider: Literal["auto", "cpu", "cuda"] = Field(
        default="auto",
        description="Execution provider. auto: CUDA if it is installed, otherwise the CPU. cuda: the server does not "
        "start without CUDA.",
    )
    threads: int = Field(
        default=0,
        ge=0,
        le=256,
        description="Number of threads inside one run of a graph. 0: one, and two while a model has a single small "
        "batch to run; its graph is then loaded twice.",
    )
    load_timeout_s: float = Field(
        default=300.0,
        gt=0,
        description="How long a version may take to load, in seconds. One that takes longer is not served; the others "
        "are.",
    )


class ConnectionSettings(BaseModel, frozen=True, extra="forbid"):
    """How connections of callers are kept, checked and limited."""

    keepalive_s: float = Field(
        default=30,
        ge=0,
        description="Interval at which the server pings a connection without traffic, in seconds. 0: never.",
    )
    keepalive_timeout_s: float = Field(
        default=20,
        gt=0,
        description="How long a ping may remain unanswered before the connection is closed, in seconds.",
    )
    ping_interval_min_s: float = Field(
        default=10,
        ge=0,
        description="Minimum interval between the pings of a caller, in seconds. Callers that ping more often are "
        "disconnected.",
    )
    streams_max: int = Field(
        default=4096, ge=1, le=(1 << 31) - 1, description="Maximum number of calls at a time on one connection."
    )
    age_max_s: float = Field(
        default=0,
        ge=0,
        description="Maximum age of a connection, in seconds. Then the caller is told to open another one, and running "
        "calls get `age_grace_s`. 0: no limit.",
    )
    age_grace_s: float = Field(
        default=300, gt=0, description="How long calls may run on a connection that is too old, in seconds."
    )
    idle_max_s: float = Field(
        default=0,
        ge=0,
        description="How long a connection may have no call before it is closed, in seconds. 0: no limit.",
    )


class WireSettings(BaseModel, frozen=True, extra="forbid"):
    """How answers are put into messages."""

    share: float = Field(
        default=0.25,
        gt=0,
        le=1,
        description="Share of a processor that the event loop may use before messages carry more tokens.",
    )
    pace_s: float = Field(
        default=0.005,
        ge=0,
        le=1,
        description="Tokens that follow each other faster than this share a message, at most 16; the first is sent at "
        "once. In seconds.",
    )


class ServerSettings(BaseSettings):
    """All settings of one server process."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX,
        env_nested_delimiter=_DELIMITER,
        env_ignore_empty=True,
        frozen=True,
        extra="forbid",
        nested_model_default_partial_update=True,
    )

    models: Path = Field(description="Folder of the model repository: DIR/MODEL/VERSION/.")
    listen: str = Field(
        default="127.0.0.1:50051",
        pattern=r"^.+:\d{1,5}$",
        description="Address to listen on, HOST:PORT. Port 0: any free one.",
    )
    metrics: str | None = Field(
        default=None,
        pattern=r"^.+:\d{1,5}$",
        description="Address that serves Prometheus metrics at /metrics, HOST:PORT. Without it, they are not served.",
    )
    drain_s: float = Field(
        default=10.0,
        ge=0,
        description="How long running requests may take to finish when the server stops, in seconds.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="Minimum log level.")
    batch: BatchSettings = BatchSettings()
    limits: LimitSettings = LimitSettings()
    sessions: SessionSettings = SessionSettings()
    runtime: RuntimeSettings = RuntimeSettings()
    wire: WireSettings = WireSettings()
    connections: ConnectionSettings = ConnectionSettings()

    @field_validator("listen")
    @classmethod
    def _check_port(cls, listen: str) -> str:
        if (port := int(listen.rpartition(":")[2])) > _PORT_MAX:  # gRPC would silently take it modulo 65536
            raise ValueError(f"the port must be in [0, {_PORT_MAX}], got {port}")
        return listen

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Returns command line, environment and file. There is no .env file and no folder of secrets."""
        del dotenv_settings, file_secret_settings
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)


def load_settings(config: Path | None, **given: Any) -> ServerSettings:
    """Loads the settings.

    Args:
        config: TOML file, or None.
        **given: Values that take precedence over all others, as the command line has them.

    Returns:
        The settings.

    Raises:
        FileNotFoundError: The file does not exist.
        tomllib.TOMLDecodeError: The file is not TOML.
        pydantic.ValidationError: A value is invalid, or a key is unknown.
        pydantic_settings.SettingsError: A variable names a whole section and is not JSON.
    """
    if config is not None and not config.is_file():
        raise FileNotFoundError(f"there is no settings file {config}")

    class ConfiguredSettings(ServerSettings):
        model_config = SettingsConfigDict(toml_file=config)

    return ConfiguredSettings(**given)


def suspicious_variables() -> list[str]:
    """Returns a warning for each SEQSERVE_* variable that is no setting but resembles one."""
    known = [name.upper() for name in ServerSettings.model_fields]
    warnings: list[str] = []
    for variable in sorted(os.environ):
        prefix, _, rest = variable.upper().partition("_")
        name = rest.partition(_DELIMITER)[0]
        if f"{prefix}_" != _PREFIX or name in known:
            continue
        if near := difflib.get_close_matches(name, known, n=1, cutoff=0.75):
            warnings.append(f"variable {variable} is not a setting and has no effect; did you mean {_PREFIX}{near[0]}?")
    return warnings
