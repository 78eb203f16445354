"""What workers compare before they train: folders by what they are, not by how they are written."""

import trainer  # isort: skip  # noqa: F401 - must come before TensorFlow

from pathlib import Path

import pytest

from configs import Experiment
from preprocessing.remote.folder import taken_in
from trainer.distribution.cluster import Cluster
from trainer.distribution.joining import facts_of
from trainer.distribution.rendezvous import difference

TWO = Cluster(("a:1", "b:2"), 0)


def test_a_folder_is_the_same_however_it_is_written(
    experiment: Experiment, dataset_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "jobs" / "one").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "jobs")
    monkeypatch.chdir(tmp_path)
    whole = tmp_path / "jobs" / "one"
    spellings = (whole, Path(f"{whole}/"), Path("jobs/one"), Path("jobs/../link/./one"))
    for given in ({"teacher": whole}, {"teacher": None, "older": whole}):
        first = facts_of(experiment, dataset_dir, **given)
        for folder in spellings:
            same = {name: folder if path else None for name, path in given.items()}
            assert not difference(TWO, {0: first, 1: facts_of(experiment, dataset_dir, **same)})
        for another in (tmp_path / "jobs" / "two", None):
            other = {name: another if path else None for name, path in given.items()}
            said = difference(TWO, {0: first, 1: facts_of(experiment, dataset_dir, **other)})
            name = "--teacher" if given["teacher"] else "--from"
            assert f"its {name} is {another or 'none'}, and that of" in said
            assert f"is {whole}; start all" in said


def test_a_folder_at_a_store_is_the_same_wherever_it_is_worked_on(
    store: str, experiment: Experiment, dataset_dir: Path, tmp_path: Path
) -> None:
    path = f"{store}/{tmp_path.name}/job"
    with taken_in(path, tmp_path / "here") as here, taken_in(path, tmp_path / "there") as there:
        facts = [facts_of(experiment, dataset_dir, one.local, one.local) for one in (here, there)]
        assert facts[0] == facts[1]
        assert facts[0]["--teacher"] == facts[0]["--from"] == path
