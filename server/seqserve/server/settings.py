"""Settings of the server: every limit by name, with its unit and default.

They come from, first wins: the command line, SEQSERVE_* variables (SEQSERVE_BATCH__SIZE_MAX=32 sets batch.size_max), a
TOML file (--config), the defaults here. A key that is not known is an error, but for a variable: others may have put
SEQSERVE_* there (a cluster does for a service of that name), so one that is like a setting's name is warned about.
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
    """How the engine of one model forms batches."""

    size_max: int = Field(
        default=128, ge=1, le=1024, description="Sequences that run at a time, in all lanes together."
    )
    lanes: int = Field(
        default=0,
        ge=0,
        le=64,
        description="Batches side by side, each with a thread; 0: as many as processors, at most 4.",
    )
    queue_depth_max: int = Field(default=256, ge=1, description="Sequences waiting before QUEUE_FULL.")
    retry_after_s: float = Field(default=1.0, gt=0, description="What a refused caller is told to wait, seconds.")
    prefill_length_max: int = Field(
        default=16,
        ge=1,
        description="Steps of one prefill run while streams decode: how long they pause. The prefix cache's block.",
    )
    reading_max: int = Field(
        default=256, ge=1, description="Inputs among which those of like length are chosen for a run."
    )
    prefill_tokens_max: int = Field(default=512, ge=1, description="Steps times rows of one prefill run.")
    ride_length_max: int = Field(
        default=32,
        ge=0,
        description="Known steps that are fed one by one in the decoding batch, not in a run of their own.",
    )
    slice_tokens: int = Field(
        default=256, ge=1, description="Tokens a sequence generates before it makes room for one that waits."
    )
    tokens_ahead_max: int = Field(
        default=256, ge=2, description="Tokens generated ahead of a reader before its sequence pauses."
    )
    feeds_max: int = Field(
        default=1024, ge=1, description="Client streams open at a time, resting ones too, before QUEUE_FULL."
    )
    steps_ahead_max: int = Field(
        default=256, ge=1, description="Steps of a client stream, read or not, ahead of its reader; then it waits."
    )
    prefix_cache_bytes_max: int = Field(
        default=64 << 20, ge=0, description="Bytes of states kept by prompt prefix; 0: none."
    )


class LimitSettings(BaseModel, frozen=True, extra="forbid"):
    """What one request may ask."""

    text_bytes_max: int = Field(default=1 << 20, ge=1, description="Bytes of UTF-8 in one input.")
    inputs_max: int = Field(default=256, ge=1, description="Inputs in one request.")
    samples_max: int = Field(default=64, ge=1, description="Samples, or beams, of one request.")
    stream_idle_s: float = Field(
        default=300, gt=0, description="Seconds without input after which a client stream ends, cleanly."
    )
    stream_idle_max_s: float = Field(default=86400, gt=0, description="Most seconds that a caller may ask for instead.")
    stream_unread_s: float = Field(
        default=300,
        gt=0,
        description="Seconds that an answer waits for a caller who does not read; then its stream ends.",
    )
    lookahead_max: int = Field(default=64, ge=0, description="Tokens of future that a tag may be asked to wait for.")
    decision_lag_max: int = Field(
        default=256, ge=0, description="Tokens that a CRF's decision may be put off for in a client stream."
    )
    message_bytes_max: int = Field(
        default=17 << 20, ge=1 << 16, description="Bytes of one message on the wire; more than a snapshot's."
    )


class SessionSettings(BaseModel, frozen=True, extra="forbid"):
    """Where sessions are kept, how many and for how long."""

    path: Path | None = Field(default=None, description="SQLite file that keeps the sessions; none: memory, or Redis.")
    redis: str | None = Field(
        default=None, pattern=r"^(rediss?|unix)://.+", description="URL of the Redis that keeps the sessions."
    )
    count_max: int = Field(default=100_000, ge=1, description="Live sessions, in memory.")
    bytes_max: int = Field(default=256 << 20, ge=1 << 16, description="Bytes of sessions, in memory.")
    when_full: Literal["refuse", "evict", "spill"] = Field(
        default="refuse",
        description="Memory only. evict: forget the session used longest ago. spill: move it to a temporary file.",
    )
    ttl_default_s: float = Field(default=3600, gt=0, description="Seconds that a session lives from its last use.")
    ttl_max_s: float = Field(default=30 * 86400, gt=0, description="Most seconds that a caller may ask for.")
    grace_s: float = Field(default=86400, ge=0, description="Seconds for which an expired session is told as expired.")
    sweep_interval_s: float = Field(default=10, gt=0, description="Seconds between looks for what has expired.")
    lease_s: float = Field(
        default=10, ge=1, description="Redis: seconds after which the sessions of a server that died are free."
    )
    checkpoints_max: int = Field(default=16, ge=0, description="Checkpoints of one session.")
    snapshot_bytes_max: int = Field(default=16 << 20, ge=1 << 10, description="Bytes of a snapshot.")
    snapshot_key: SecretStr | None = Field(
        default=None, description="Key that signs snapshots; with one, those it did not sign are refused."
    )
    on_model_change: Literal["pin", "replay", "refuse"] = Field(
        default="pin",
        description="A session's version is not the newest. pin: it stays with its own. replay: kept tokens are read "
        "again on the newest. refuse: SERVABLE_MISMATCH.",
    )

    @property
    def signing_key(self) -> bytes | None:
        """What signs snapshots; None if nothing does."""
        return None if self.snapshot_key is None else self.snapshot_key.get_secret_value().encode()

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if self.path is not None and self.redis is not None:
            raise ValueError("path and redis are both set: sessions are kept in one place")
        return self

    @model_validator(mode="after")
    def _default_within_most(self) -> Self:
        if self.ttl_default_s > self.ttl_max_s:
            raise ValueError(f"ttl_default_s is {self.ttl_default_s:g}, more than ttl_max_s, {self.ttl_max_s:g}")
        return self


class RuntimeSettings(BaseModel, frozen=True, extra="forbid"):
    """How ONNX Runtime runs the graphs."""

    provider: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="auto: CUDA where it is installed, else CPU. cuda: CUDA or no start."
    )
    threads: int = Field(
        default=0,
        ge=0,
        le=256,
        description="Threads inside one run of a graph; 0: one, and two while a model has one small batch to run,"
        " for which its graph is loaded twice.",
    )


class WireSettings(BaseModel, frozen=True, extra="forbid"):
    """How answers are written."""

    share: float = Field(
        default=0.25,
        gt=0,
        le=1,
        description="Part of a processor that the event loop may take before messages grow.",
    )
    pace_s: float = Field(
        default=0.005,
        ge=0,
        le=1,
        description="Tokens that come faster than this share a message, at most 16; the first goes at once.",
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

    models: Path = Field(description="The model repository.")
    listen: str = Field(
        default="127.0.0.1:50051", pattern=r"^.+:\d{1,5}$", description="HOST:PORT; port 0: any free one."
    )
    metrics: str | None = Field(
        default=None,
        pattern=r"^.+:\d{1,5}$",
        description="HOST:PORT on which /metrics answers a Prometheus; none: nowhere.",
    )
    drain_s: float = Field(default=10.0, ge=0, description="Seconds that running requests get at a stop.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="Least level logged.")
    batch: BatchSettings = BatchSettings()
    limits: LimitSettings = LimitSettings()
    sessions: SessionSettings = SessionSettings()
    runtime: RuntimeSettings = RuntimeSettings()
    wire: WireSettings = WireSettings()

    @field_validator("listen")
    @classmethod
    def _a_port_that_exists(cls, listen: str) -> str:
        if (port := int(listen.rpartition(":")[2])) > _PORT_MAX:  # gRPC would take the remainder by 65536 in silence
            raise ValueError(f"port {port} does not exist; ports are 0 to {_PORT_MAX}")
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
        """Command line, environment, file; no .env and no secrets: a setting has few places to come from."""
        del dotenv_settings, file_secret_settings
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)


def load_settings(config: Path | None, **given: Any) -> ServerSettings:
    """Settings from the command line (``given``), the environment and a TOML file, in this order.

    Raises: FileNotFoundError if there is no such file; tomllib.TOMLDecodeError if it is not TOML;
        pydantic.ValidationError for a bad value or an unknown key; pydantic_settings.SettingsError for a variable
        that names a whole section and is not JSON.
    """
    if config is not None and not config.is_file():
        raise FileNotFoundError(f"there is no settings file {config}")

    class ConfiguredSettings(ServerSettings):
        model_config = SettingsConfigDict(toml_file=config)

    return ConfiguredSettings(**given)


def suspicious_variables() -> list[str]:
    """What to say of each SEQSERVE_* variable that is no setting but is spelt almost like one."""
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
