"""What is generated is what is checked in."""

from pathlib import Path

import pytest

from charts.observability import __main__ as program


def test_the_files_are_in_sync(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["--check"]) == 0, capsys.readouterr().err


def test_a_file_that_differs_is_told_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(program, "CHART", tmp_path)
    monkeypatch.setattr(program, "files", lambda: {"rules/a.yaml": "groups: []\n"})
    assert program.main(["--check"]) == 1
    assert "rules/a.yaml is out of date: run `make generate`" in capsys.readouterr().err
    assert program.main([]) == 0
    assert (tmp_path / "rules/a.yaml").read_text() == "groups: []\n"
    assert program.main(["--check"]) == 0


def test_bad_arguments_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["--chek"]) == 2
    assert "usage" in capsys.readouterr().err
