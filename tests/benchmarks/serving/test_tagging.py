"""Made-up sentences are never reported as those of the data set."""

from pathlib import Path

import pytest

from benchmarks.serving import tagging


@pytest.mark.parametrize("exists", [False, True])
def test_made_up_sentences_are_reported(
    exists: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "ud_english_ewt" / "en_ewt-ud-dev.conllu.gz"
    if exists:
        file.parent.mkdir()
        file.touch()
    monkeypatch.setenv("SEQSERVE_DATA", str(tmp_path))
    monkeypatch.setattr(
        tagging, "_measure_in_process", lambda *_: {"bare_batched": 2.0, "bare_single": 1.0, "sentences_s": 1.0}
    )
    whole = tagging.measure("localhost:1", tmp_path / "tagger" / "1", 20, 0.1)
    assert whole.source == ("EWT dev" if exists else "made up")
    assert (str(file) in capsys.readouterr().err) == (not exists)
