"""Where the project file is found, and which words of a command line say so."""

import pytest

from qengine.cli.project.find import project_path, without_project
from qengine.errors import ProjectError


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("QENGINE_PROJECT", raising=False)
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "qengine.toml").touch()
    (tmp_path / "p" / "q.toml").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("typed", "variable", "path"),
    [
        ({}, None, None),
        ({"project": "p/q.toml"}, None, "p/q.toml"),
        ({"project": "p"}, None, "p/qengine.toml"),
        ({}, "p/q.toml", "p/q.toml"),
        ({"project": "p"}, "gone", "p/qengine.toml"),
        ({"no_project": True}, "p/q.toml", None),
        ({}, "", None),
    ],
)
def test_without_a_file_in_the_folder(typed, variable, path, monkeypatch):
    if variable is not None:
        monkeypatch.setenv("QENGINE_PROJECT", variable)
    assert project_path(typed) == path


@pytest.mark.parametrize(
    ("typed", "variable", "path"),
    [
        ({}, None, "qengine.toml"),
        ({"project": "p"}, None, "p/qengine.toml"),
        ({"no_project": True}, None, None),
        ({}, "", None),
        ({}, "p", "p/qengine.toml"),
    ],
)
def test_with_a_file_in_the_folder(folder, typed, variable, path, monkeypatch):
    (folder / "qengine.toml").touch()
    if variable is not None:
        monkeypatch.setenv("QENGINE_PROJECT", variable)
    assert project_path(typed) == path


@pytest.mark.parametrize(
    ("typed", "variable", "reason"),
    [
        (
            {"project": "gone.toml"},
            None,
            "--project: there is no file 'gone.toml'; 'qengine init MODEL -o FILE' writes",
        ),
        ({}, "gone.toml", "QENGINE_PROJECT: there is no file 'gone.toml'"),
        ({"project": "p", "no_project": True}, None, "exclude each other"),
        ({"project": ""}, None, "there is no file ''"),
        ({"project": "x" * 5000}, None, "there is no file"),
    ],
)
def test_a_file_that_is_not_there(typed, variable, reason, monkeypatch):
    if variable is not None:
        monkeypatch.setenv("QENGINE_PROJECT", variable)
    with pytest.raises(ProjectError, match=reason):
        project_path(typed)


@pytest.mark.parametrize(
    ("words", "rest"),
    [
        ("run m.onnx", "run m.onnx"),
        ("--project p run m.onnx", "run m.onnx"),
        ("--project=p --no-project run", "run"),
        ("--no-project", ""),
        ("--project", ""),
        ("run --project p", "run --project p"),
        ("--version --project p", "--version --project p"),
    ],
)
def test_the_words_from_the_command_on(words, rest):
    assert list(without_project(words.split())) == rest.split()
