"""The committed models reach what their README says, as ONNX Runtime runs them."""

from pathlib import Path

import pytest

from seqserve.training.export import servable
from seqserve.training.run import evaluate

MODELS = Path(__file__).parents[3] / "models"
SIZE_MAX_BYTES = 3_000_000


def test_all_models_together_are_small() -> None:
    assert sum(path.stat().st_size for path in MODELS.rglob("*") if path.is_file()) < SIZE_MAX_BYTES


@pytest.mark.parametrize("version", sorted(MODELS.glob("*/*/")), ids=lambda path: path.parent.name)
def test_a_model_is_proven_licensed_and_whole(version: Path) -> None:
    manifest = servable.read_manifest(version)
    assert servable.sha256((version / servable.GRAPH_FILE).read_bytes()) == manifest.graph.sha256
    assert servable.sha256((version / servable.TOKENIZER_FILE).read_bytes()) == manifest.graph.tokenizer_sha256
    assert manifest.parity.graph_sha256 == manifest.graph.sha256
    assert max(manifest.parity.max_abs_error_outputs, manifest.parity.max_abs_error_states) <= 1e-4
    assert manifest.license
    assert all(source.license for source in manifest.training.data)


def test_the_tagger_is_right_about_94_words_in_100(data_dir: Path) -> None:
    dev = data_dir / "ud_english_ewt" / "en_ewt-ud-dev.conllu.gz"
    metrics = evaluate(MODELS / "english-pos" / "1", [dev]).figures
    assert metrics["accuracy"] >= 0.94
    assert metrics["accuracy"] == pytest.approx(recorded("english-pos")["accuracy"], abs=1e-4)


def test_the_language_model_predicts_the_last_tenth_of_its_text(data_dir: Path, tmp_path: Path) -> None:
    text = (data_dir / "tiny_shakespeare" / "input.txt").read_text(encoding="utf-8")
    tenth = tmp_path / "tenth.txt"
    tenth.write_text(text[len(text) - round(len(text) * 0.1) :], encoding="utf-8")
    metrics = evaluate(MODELS / "shakespeare-char" / "1", [tenth]).figures
    assert metrics["loss"] <= 1.62
    assert metrics["loss"] == pytest.approx(recorded("shakespeare-char")["loss"], abs=1e-4)


def recorded(model: str) -> dict[str, float]:
    return {metric.name: metric.value for metric in servable.read_manifest(MODELS / model / "1").metrics}
