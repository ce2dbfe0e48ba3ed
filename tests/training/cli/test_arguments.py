import argparse
from pathlib import Path

import pytest

from seqserve.training.cli.arguments import add_fields, configure, flag
from seqserve.training.config import CellKind, LanguageModelConfig, TaggerConfig, TrainingConfig
from seqserve.training.errors import ConfigError


def parsed(model: type[TrainingConfig], *arguments: str) -> dict[str, object]:
    parser = argparse.ArgumentParser()
    add_fields(parser, model)
    return vars(parser.parse_args(arguments))


def test_flags_become_fields_and_what_is_not_given_keeps_its_default() -> None:
    given = parsed(
        LanguageModelConfig, "--data", "a.txt", "b.txt", "--cell", "gru", "--unknown-token", "--learning-rate", "0.5"
    )
    config = configure(LanguageModelConfig, given)
    assert config.data == (Path("a.txt"), Path("b.txt"))
    assert (config.cell, config.unknown_token, config.learning_rate) == (CellKind.GRU, True, 0.5)
    assert config.model_fields_set == {"data", "cell", "unknown_token", "learning_rate"}


@pytest.mark.parametrize("model", [LanguageModelConfig, TaggerConfig])
def test_every_field_is_a_flag_with_its_description(
    model: type[TrainingConfig], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parsed(model, "--help")
    text = " ".join(capsys.readouterr().out.split())
    for name, field in model.model_fields.items():
        assert flag(name) in text
        assert field.description is not None
        assert field.description.split(";")[0].split(":")[0][:30] in text


def test_every_wrong_value_is_named_by_its_flag() -> None:
    given = parsed(LanguageModelConfig, "--data", "a.txt", "--hidden-size", "many", "--dropout", "1.5")
    with pytest.raises(ConfigError) as error:
        configure(LanguageModelConfig, given)
    lines = str(error.value).splitlines()
    assert lines[0] == "--dropout: Input should be less than 1 (got '1.5')"
    assert lines[1].startswith("--hidden-size: Input should be a valid integer")
    assert lines[1].endswith("(got 'many')")


def test_two_ways_of_validation_exclude_each_other() -> None:
    given = parsed(LanguageModelConfig, "--data", "a", "--validation", "b", "--validation-fraction", "0.2")
    with pytest.raises(ConfigError, match="validation and validation_fraction exclude each other"):
        configure(LanguageModelConfig, given)
