"""``--grow``: the vocabularies of another dataset get the values of new days."""

import re
from pathlib import Path

import pytest

from configs import InputError
from preprocessing.beam.dataset_job import Job
from preprocessing.dataset.manifest import PROFILE_FILE, load_manifest
from preprocessing.features.fitted import Fitted
from preprocessing.profile.data_profile import parse_profile
from preprocessing.task import main
from tests.preprocessing.shop_logs import (
    IN_PROCESS,
    Row,
    check_files,
    digests,
    experiment,
    make_rows,
    split_of,
    write_json,
    write_parquet,
)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset whose transform is grown."""
    folder = tmp_path_factory.mktemp("fitted")
    write_parquet(folder / "logs" / "a.parquet", make_rows(400))
    Job(experiment(), str(folder / "logs"), str(folder / "data"), IN_PROCESS).run()
    return folder / "data"


def new_days(*splits: str) -> list[Row]:
    """Rows with a user and, twice, an item that nobody knows, and once another item."""
    rows = [row for row in make_rows(200, seed=5) if split_of(row) in splits]
    rows[0].update(user="newcomer", item="novelty")
    rows[4].update(item="novelty")  # of another request
    rows[2].update(item="rarity")
    return rows


def test_new_values_follow_the_old_ones_and_nothing_else_changes(
    fitted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    logs = write_json(tmp_path / "logs" / "a.jsonl", new_days("pretrain"))
    output = tmp_path / "data"
    manifest = Job(experiment(), str(logs), str(output), IN_PROCESS, grow=str(fitted)).run()
    assert check_files(output) == manifest
    assert "splits finetune, validation, test: they stay empty" in capsys.readouterr().err
    old, new = (Fitted.load(str(folder / "transform")) for folder in (fitted, output))
    assert manifest.grown
    assert manifest.transform_from is None
    assert manifest.grown.source == str(fitted)
    assert manifest.grown.transform_digest == old.digest == new.grown_from
    assert (new.moments, new.boundaries) == (old.moments, old.boundaries)
    about = manifest.grown.features
    for name, more in (("user", {"newcomer"}), ("item", {"novelty"})):
        values, before = list(new.vocabularies[name]), list(old.vocabularies[name])
        assert values[: len(before)] == before
        assert more <= set(values[len(before) :])
        assert about[name].entered == len(values) - len(before)
        assert about[name].unseen == sum(1 for seconds in new.unseen[name].to_pylist() if seconds)
    assert "rarity" not in new.vocabularies["item"]  # min_count is 2
    assert not (output / "given").exists()
    profiles = [parse_profile((at / PROFILE_FILE).read_bytes(), "") for at in (fitted, output)]
    assert profiles[0].reference == profiles[1].reference  # moments are still of these rows

    before = digests(output)
    Job(experiment(), str(logs), str(output), IN_PROCESS, grow=str(fitted)).run()
    assert digests(output) == before


def test_what_cannot_be_grown_is_refused_in_one_line(fitted: Path, tmp_path: Path) -> None:
    logs = write_json(tmp_path / "logs" / "a.jsonl", new_days("finetune"))

    def refusal(source: Path, *overrides: str) -> str:
        with pytest.raises(InputError) as error:
            Job(
                experiment(*overrides),
                str(logs),
                str(tmp_path / "out"),
                IN_PROCESS,
                grow=str(source),
            ).run()
        assert not (tmp_path / "out" / "manifest.json").exists()
        assert "\n" not in str(error.value)
        return str(error.value)

    assert refusal(tmp_path).startswith(f"--grow: {tmp_path}: neither a job")
    assert "--grow" in refusal(fitted, "features.price.log1p=false")
    assert "the pretrain split has no sound row" in refusal(fitted)
    both = "pretrain.progressive: .*, and --grow is for a backbone that begins with taught ones"
    assert re.match(both, refusal(fitted, "pretrain.progressive=true"))
    same = Job(experiment(), str(logs), str(fitted), IN_PROCESS, grow=str(fitted))
    with pytest.raises(InputError, match="--grow and --output are the same folder"):
        same.run()
    assert load_manifest(fitted).grown is None


def test_a_transform_is_applied_or_grown() -> None:
    words = ["--config", "configs/quickstart.yaml", "--output", "nowhere", "--input", "no.jsonl"]
    with pytest.raises(InputError, match="--transform and --grow are both given"):
        main([*words, "--transform", "a", "--grow", "b"])
    with pytest.raises(InputError, match="--grow is empty"):
        main([*words, "--grow", ""])
