from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from pydantic import ValidationError
from pydantic_settings import SettingsError

from seqserve.server.settings import ServerSettings, load_settings, suspicious_variables

MODELS = Path("/models")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "seqserve.toml"


def test_defaults_keep_to_this_machine() -> None:
    settings = load_settings(None, models=MODELS)
    assert settings.listen == "127.0.0.1:50051"
    assert settings.runtime.provider == "auto"


def test_the_command_line_wins_over_variables_over_the_file_over_defaults(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text('models = "/file"\nlisten = "file:1"\ndrain_s = 1.0\n')
    monkeypatch.setenv("SEQSERVE_LISTEN", "variable:2")
    monkeypatch.setenv("SEQSERVE_DRAIN_S", "2")
    settings = load_settings(file, drain_s=3.0)
    assert (settings.models, settings.listen, settings.drain_s) == (Path("/file"), "variable:2", 3.0)
    assert settings.log_level == "info"


def test_a_section_is_put_together_from_all_places(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text("[batch]\nsize_max = 4\nqueue_depth_max = 5\n[runtime]\nthreads = 2\n")
    monkeypatch.setenv("SEQSERVE_BATCH__SIZE_MAX", "6")
    settings = load_settings(file, models=MODELS, runtime={"provider": "cpu"})
    assert (settings.batch.size_max, settings.batch.queue_depth_max) == (6, 5)
    assert settings.batch.tokens_ahead_max == ServerSettings.model_fields["batch"].default.tokens_ahead_max
    assert (settings.runtime.provider, settings.runtime.threads) == ("cpu", 2)


@pytest.mark.parametrize(
    ("text", "where"), [("modells = 1", "modells"), ("[batch]\nsize = 1", "batch.size"), ("[bach]\nx = 1", "bach")]
)
def test_an_unknown_key_in_the_file_is_an_error_that_names_it(file: Path, text: str, where: str) -> None:
    file.write_text(text)
    with pytest.raises(ValidationError) as caught:
        load_settings(file, models=MODELS)
    (problem,) = caught.value.errors()
    assert ".".join(map(str, problem["loc"])) == where
    assert problem["type"] == "extra_forbidden"


def test_an_unknown_variable_of_a_known_section_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEQSERVE_BATCH__SIZE", "1")
    with pytest.raises(ValidationError, match=r"batch\.size\n"):
        load_settings(None, models=MODELS)


def test_a_misspelt_variable_is_told_and_those_of_others_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEQSERVE_DRAIN", "5")
    monkeypatch.setenv("SEQSERVE_BACTH__SIZE_MAX", "5")
    for others in ("SEQSERVE_SERVER", "SEQSERVE_SERVICE_HOST", "SEQSERVE_PORT_50051_TCP_ADDR", "SEQSERVE_PUBLISH"):
        monkeypatch.setenv(others, "1")
    monkeypatch.setenv("SEQSERVE_BATCH__SIZE_MAX", "5")
    assert suspicious_variables() == [
        "variable SEQSERVE_BACTH__SIZE_MAX is not a setting and has no effect; did you mean SEQSERVE_BATCH?",
        "variable SEQSERVE_DRAIN is not a setting and has no effect; did you mean SEQSERVE_DRAIN_S?",
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SEQSERVE_DRAIN_S", "soon"),
        ("SEQSERVE_DRAIN_S", "-1"),
        ("SEQSERVE_LISTEN", "nowhere"),
        ("SEQSERVE_LISTEN", "localhost:65536"),
        ("SEQSERVE_LISTEN", ":50051"),
        ("SEQSERVE_BATCH__SIZE_MAX", "0"),
        ("SEQSERVE_RUNTIME__PROVIDER", "tpu"),
        ("SEQSERVE_LIMITS__TEXT_BYTES_MAX", "0"),
        ("SEQSERVE_LOG_LEVEL", "loud"),
    ],
)
def test_a_bad_value_is_an_error_that_names_the_setting(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError) as caught:
        load_settings(None, models=MODELS)
    (problem,) = caught.value.errors()
    assert "__".join(map(str, problem["loc"])).upper() == name.removeprefix("SEQSERVE_")


def test_an_empty_variable_counts_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEQSERVE_MODELS", "")
    monkeypatch.setenv("SEQSERVE_DRAIN_S", "")
    with pytest.raises(ValidationError) as caught:  # and not the folder the server was started in
        load_settings(None)
    (problem,) = caught.value.errors()
    assert (problem["loc"], problem["type"]) == (("models",), "missing")


def test_a_section_in_one_variable_has_to_be_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEQSERVE_BATCH", '{"size_max": 3}')
    assert load_settings(None, models=MODELS).batch.size_max == 3
    monkeypatch.setenv("SEQSERVE_BATCH", "3 at most")
    with pytest.raises(SettingsError, match="batch"):
        load_settings(None, models=MODELS)


def test_a_file_that_is_not_there_or_not_toml_is_an_error(file: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no settings file .*seqserve\.toml"):
        load_settings(file, models=MODELS)
    file.write_text("models: /models")
    with pytest.raises(tomllib.TOMLDecodeError, match="line 1"):
        load_settings(file, models=MODELS)


def test_settings_cannot_be_changed_once_read() -> None:
    settings = load_settings(None, models=MODELS)
    with pytest.raises(ValidationError, match="frozen"):
        settings.drain_s = 1.0
    with pytest.raises(ValidationError, match="frozen"):
        settings.batch.size_max = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("sessions", "message"),
    [
        ({"path": "/a.db", "redis": "redis://host"}, "sessions are stored in one place"),
        ({"ttl_default_s": 10, "ttl_max_s": 5}, "ttl_default_s must be at most ttl_max_s, 5, got 10"),
        ({"redis": "http://host"}, "should match pattern"),
        ({"when_full": "panic"}, "'refuse', 'evict' or 'spill'"),
    ],
)
def test_sessions_that_cannot_be_kept_so_are_refused_at_the_start(sessions: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        load_settings(None, models=MODELS, sessions=sessions)


def test_the_key_of_snapshots_is_not_shown() -> None:
    settings = load_settings(None, models=MODELS, sessions={"snapshot_key": "a secret"})
    assert "a secret" not in repr(settings)
