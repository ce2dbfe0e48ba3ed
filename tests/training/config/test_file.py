from pathlib import Path

import pytest

from seqserve.training.cli.arguments import configure
from seqserve.training.config import LanguageModelConfig
from seqserve.training.config.file import differences, read_config, write_config
from seqserve.training.errors import ConfigError


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("run.yaml", "data: [a.txt]\nhidden-size: 12\nlearning_rate: 0.5\nunknown_token: true\n"),
        ("run.toml", 'data = ["a.txt"]\nhidden_size = 12\nlearning-rate = 0.5\nunknown_token = true\n'),
    ],
)
def test_yaml_and_toml_say_the_same(tmp_path: Path, name: str, text: str) -> None:
    config = configure(LanguageModelConfig, read_config(written(tmp_path, name, text), LanguageModelConfig))
    assert (config.data, config.hidden_size, config.learning_rate) == ((Path("a.txt"),), 12, 0.5)
    assert config.unknown_token


def test_what_is_written_is_read_back_whole(tmp_path: Path) -> None:
    config = LanguageModelConfig(data=(Path("ä.txt"),), cell="gru", clip_value=0.5, description="Ein Satz: ja.")  # type: ignore[arg-type]
    write_config(tmp_path / "run" / "config.yaml", config)
    given = read_config(tmp_path / "run" / "config.yaml", LanguageModelConfig)
    assert given.keys() == LanguageModelConfig.model_fields.keys()
    assert configure(LanguageModelConfig, given) == config


def test_every_unknown_key_is_an_error_that_names_the_nearest_known(tmp_path: Path) -> None:
    path = written(tmp_path, "run.yaml", "hiden_size: 12\nlearning-rat: 1\nxyzzy: 3\n")
    with pytest.raises(ConfigError) as error:
        read_config(path, LanguageModelConfig)
    lines = str(error.value).splitlines()
    assert lines[0] == f"{path}: unknown setting 'hiden_size'; did you mean 'hidden_size'?"
    assert lines[1] == f"{path}: unknown setting 'learning_rat'; did you mean 'learning_rate'?"
    assert lines[2] == f"{path}: unknown setting 'xyzzy'; see --help for the settings of this task"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("run.yaml", "a: [", "cannot be read as a configuration"),
        ("run.toml", "a = ", "cannot be read as a configuration"),
        ("run.yaml", "- a\n", "a configuration is a table of settings"),
        ("run.json", "{}", r"must end in .yaml, .yml, or .toml"),
    ],
)
def test_what_is_no_configuration_is_refused(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_config(written(tmp_path, name, text), LanguageModelConfig)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_config(tmp_path / "missing.yaml", LanguageModelConfig)


def test_differences_are_named_but_for_those_that_do_not_matter() -> None:
    one = LanguageModelConfig.model_validate({"data": ["a"], "epochs": 1, "window": 8})
    other = LanguageModelConfig.model_validate({"data": ["a"], "epochs": 2, "window": 9})
    assert differences(one.model_dump_json(), other, {"epochs"}) == ["window was 8 and is 9 now"]
    assert differences(one.model_dump_json(), one, ()) == []
