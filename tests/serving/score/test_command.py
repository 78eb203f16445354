"""The command: its arguments, its last lines, and one line for what a user can cause."""

from pathlib import Path
from typing import Any

import pytest

from configs.cli import run
from serving.score.__main__ import main
from tests.serving.score.archives import IN_PROCESS, Row, make_rows, write_csv, write_json

FLAGS = (*IN_PROCESS, "--keep", "id")


@pytest.fixture(scope="module")
def models(exported: dict[int, Path]) -> Path:
    return exported[10].parent


@pytest.fixture
def rows() -> list[Row]:
    return make_rows(30)


def failure(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The last line on stderr of a command that must exit with code 2 and print nothing else but
    how far it was.
    """
    with pytest.raises(SystemExit) as caught:
        run(lambda: main([str(word) for word in arguments]))
    assert caught.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    *before, last = captured.err.splitlines()
    assert not [line for line in before if not line.startswith(("score: ", "warning: "))]
    return last


def test_the_last_lines_say_what_was_scored_and_what_was_not(
    models: Path, rows: list[Row], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows[4]["price"] = "cheap"
    archive, output = write_csv(tmp_path / "a.csv", rows), tmp_path / "out"
    given = ["--models", models, "--input", archive, "--output", output, "--version", 9, *FLAGS]
    main([str(word) for word in given])
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines()[-2:] == [
        f"{output}: 29 of 30 rows scored by version 9; rejected 1",
        f"rejected rows are in {output}/rejected: 1: price: expected a number",
    ]


def test_mistakes_of_input_are_one_line(
    models: Path, rows: list[Row], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive, output = write_json(tmp_path / "a.jsonl", rows), tmp_path / "out"

    def refused(*more: object, **changed: object) -> str:
        given: dict[str, Any] = {"models": models, "input": archive, "output": output, **changed}
        words = [word for name, value in given.items() for word in (f"--{name}", value)]
        return failure(capsys, *words, *more)

    (tmp_path / "empty").mkdir()
    assert "no such file or directory" in refused(models=tmp_path / "none").lower()
    assert "holds no version; run python -m serving.export" in refused(models=tmp_path / "empty")
    assert "no version 7; there are: 9, 10" in refused("--version", 7)
    assert "no/*.csv: no file matches" in refused(input=tmp_path / "no" / "*.csv")
    assert "--output is empty; expected a folder" in refused(output="")
    assert "must be a share, 0 to 1, received 5" in refused("--max-rejected", 5)
    assert "unknown option '--runer'; did you mean '--runner'?" in refused("--runer", "x")
    assert "missing: nothing; unexpected: " in refused(*IN_PROCESS, "--keep", "nothing")
    assert "--keep: 'label'" not in refused(*IN_PROCESS, "--keep", "nothing", "label")
    blank = write_json(tmp_path / "blank.jsonl", [])
    assert "blank.jsonl: no rows in 1 file(s)" in refused(*FLAGS, input=blank)
    full = write_json(tmp_path / "full" / "score.json", rows).parent
    assert "holds files already, such as score.json; expected an empty folder" in refused(
        *FLAGS, output=full
    )
    assert not output.exists() or not list(output.iterdir())
