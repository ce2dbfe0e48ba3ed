"""Sentences that are not those of the data set are never taken for them."""

from pathlib import Path

import pytest

from benchmarks.serving import tagging


@pytest.mark.parametrize("there", [False, True])
def test_sentences_that_are_made_up_are_told(
    there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "ud_english_ewt" / "en_ewt-ud-dev.conllu.gz"
    if there:
        file.parent.mkdir()
        file.touch()
    monkeypatch.setenv("SEQSERVE_DATA", str(tmp_path))
    monkeypatch.setattr(tagging, "_apart", lambda *_: {"bare_batched": 2.0, "bare_single": 1.0, "sentences_s": 1.0})
    whole = tagging.measure("localhost:1", tmp_path / "tagger" / "1", 20, 0.1)
    assert whole.source == ("EWT dev" if there else "made up")
    assert (str(file) in capsys.readouterr().err) == (not there)
