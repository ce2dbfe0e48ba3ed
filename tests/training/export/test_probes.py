"""Probes say which tokens a tokenizer gives, and only for text that it can represent."""

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from seqserve.training.export.probes import TEXTS, tokenizer_probes
from seqserve.training.tokenizers.sequences import character_tokenizer, word_tokenizer

MODELS = Path(__file__).parents[3] / "models"


def test_words_are_probed_with_every_text() -> None:
    tokenizer = word_tokenizer(["the", "The", "fox"], size_max=10, count_min=1, lowercase=True)
    probes = tokenizer_probes(tokenizer)
    assert {probe.text for probe in probes} >= set(TEXTS)
    for probe in probes:
        assert list(probe.token_ids) == tokenizer.encode(probe.text).ids


def test_characters_without_an_unknown_token_are_probed_with_their_own() -> None:
    (probe,) = tokenizer_probes(character_tokenizer("abc"))
    assert (probe.text, list(probe.token_ids)) == ("abc", [0, 1, 2])


def test_a_skipped_normalizer_changes_a_probe() -> None:
    tokenizer = word_tokenizer(["the", "fox"], size_max=10, count_min=1, lowercase=True)
    content = json.loads(tokenizer.to_str()) | {"normalizer": None}
    skipped = Tokenizer.from_str(json.dumps(content))
    assert any(list(probe.token_ids) != skipped.encode(probe.text).ids for probe in tokenizer_probes(tokenizer))


@pytest.mark.parametrize("model", sorted(path.name for path in MODELS.iterdir() if path.is_dir()))
def test_the_models_of_the_repository_have_probes(model: str) -> None:
    servable = MODELS / model / "1"
    probes = json.loads((servable / "manifest.json").read_text(encoding="utf-8"))["vocabulary"]["probes"]
    tokenizer = Tokenizer.from_file(str(servable / "tokenizer.json"))
    assert probes
    for probe in probes:
        assert tokenizer.encode(probe["text"]).ids == probe["token_ids"]
