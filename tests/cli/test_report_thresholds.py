"""`qengine report --fail-under` writes the page, and its exit status says whether the figures are good enough."""

import pytest

from qengine import cli

WORDS = ("report", "digits", "--limit", "40", "--quick", "--curve", "none", "--qformat", "Q2.2")


@pytest.mark.parametrize(("threshold", "status"), [("top1=0.5", 0), ("sqnr=60dB", 1)])
def test_the_page_is_written_and_the_status_is_that_of_the_figures(threshold, status, tmp_path, capsys):
    page = tmp_path / "report.html"
    assert cli.main([*WORDS, "-o", str(page), "--fail-under", threshold]) == status
    assert page.stat().st_size > 1000
    assert (f"(--fail-under {threshold})" in capsys.readouterr().err) == bool(status)


@pytest.mark.parametrize(
    ("model", "threshold", "message"),
    [
        ("digits", "speed=3", "no metric is named 'speed'"),
        ("model.onnx", "top1=0.5", "--fail-under needs figures: give --data"),
    ],
)
def test_thresholds_that_cannot_be_checked_are_refused_first(model, threshold, message, tmp_path, monkeypatch, capsys):
    from qengine import zoo

    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.onnx").write_bytes(zoo.path_of("digits").read_bytes())
    assert cli.main(["report", model, "-o", "r.html", "--fail-under", threshold]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "r.html").exists()
