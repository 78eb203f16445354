"""``profile.json`` of a dataset: what it holds, what the command says, and what new logs are
compared with.
"""

import json
import shutil
from pathlib import Path

import pytest

from configs import InputError
from configs.cli import run
from preprocessing import task
from preprocessing.beam.dataset_job import Job
from preprocessing.beam.profiling import say_changes
from preprocessing.dataset.manifest import PROFILE_FILE, load_manifest
from preprocessing.profile import __main__ as command
from preprocessing.profile.data_profile import DataProfile, copy_profile, read_profile
from tests.preprocessing.shop_logs import (
    CONFIG,
    IN_PROCESS,
    SPLITS,
    START,
    Row,
    digests,
    experiment,
    make_rows,
    split_of,
    write_json,
    write_parquet,
)

BATCHES = "data.batch_rows=2_000"
DAY = 86_400


def with_zeroed_test_prices(rows: list[Row]) -> list[Row]:
    return [{**row, "price": 0.0} if split_of(row) == "test" else row for row in rows]


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    """600 a day, and no price on any row of the test day."""
    return with_zeroed_test_prices(make_rows(3_000))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, rows: list[Row]) -> Path:
    folder = tmp_path_factory.mktemp("profiled")
    write_parquet(folder / "logs" / "a.parquet", rows, 1_000)
    Job(experiment(BATCHES), str(folder / "logs"), str(folder / "data"), IN_PROCESS).run()
    return folder / "data"


@pytest.fixture(scope="module")
def profile(data: Path) -> DataProfile:
    found = read_profile(data)
    assert found is not None
    return found


def test_it_is_a_sealed_file_that_the_manifest_lists(data: Path, tmp_path: Path) -> None:
    entry = load_manifest(data).profile
    assert entry is not None
    assert (entry.path, entry.sha256) == (PROFILE_FILE, digests(data)[PROFILE_FILE])
    copy = shutil.copytree(data, tmp_path / "data")
    text = (copy / PROFILE_FILE).read_text()
    (copy / PROFILE_FILE).write_text(text.replace('"missing": 0.0', '"missing": 0.5', 1))
    with pytest.raises(InputError, match=r"profile\.json: damaged.*run preprocessing\.task again"):
        read_profile(copy)


def test_rows_and_label_rates_are_those_of_the_logs(profile: DataProfile, rows: list[Row]) -> None:
    assert profile.rows == profile.sampled == dict.fromkeys(SPLITS, 600)
    assert profile.reference is not None
    assert (profile.reference.split, profile.reference.rows) == ("pretrain", 600)
    for split in SPLITS:
        own = [row for row in rows if split_of(row) == split]
        parts = {"all": own, "scene=home": [row for row in own if row["scene"] == "home"]}
        for domain, inside in parts.items():
            found = profile.labels[split][domain]
            assert found.rows == len(inside)
            for label in ("click", "order"):
                rate = sum(row[label] for row in inside) / len(inside)
                assert found.rates[label] == pytest.approx(rate, rel=1e-12)


def test_the_mean_of_amounts_and_labels_that_are_known_late(tmp_path: Path) -> None:
    made = make_rows(500)
    for place, row in enumerate(made):
        row["order"] = 0.1 * (place % 7)
    write_json(tmp_path / "logs" / "a.jsonl", made)
    overrides = (
        "tasks={click: {label: click, matured_after: 36},"
        " amount: {label: order, kind: regression, typical: 0.25}}",
        "score=click",
    )
    Job(experiment(*overrides), str(tmp_path / "logs"), str(tmp_path / "data"), IN_PROCESS).run()
    found = read_profile(tmp_path / "data")
    assert found is not None
    amounts = [row["order"] for row in made if split_of(row) == "finetune"]
    rates = {split: found.labels[split]["all"].rates for split in SPLITS}
    assert rates["finetune"]["order"] == pytest.approx(sum(amounts) / len(amounts), rel=1e-6)
    assert rates["test"]["click"] is None, "rows of the last 36 hours carry no click"
    half = [row for row in made if split_of(row) == "validation"]
    known = [row["click"] for row in half if row["time"] < START + 2.5 * DAY]
    assert 0 < len(known) < len(half)
    assert rates["validation"]["click"] == pytest.approx(sum(known) / len(known))


def test_a_zeroed_price_is_on_the_last_lines_of_the_command(
    tmp_path: Path, rows: list[Row], capsys: pytest.CaptureFixture[str]
) -> None:
    write_parquet(tmp_path / "logs" / "a.parquet", rows, 1_000)
    (tmp_path / "shop.yaml").write_text(CONFIG)
    words = ["--config", str(tmp_path / "shop.yaml"), "--set", BATCHES, *IN_PROCESS]
    places = ["--input", str(tmp_path / "logs"), "--output", str(tmp_path / "data")]
    task.main([*words, *places])
    *_, title, line = capsys.readouterr().err.splitlines()
    assert title == (
        "1 feature changes its meaning after split 'pretrain', which the transform was fitted on:"
    )
    assert line.startswith("  price: 0 on every row of test; its mean is ")


def test_the_command_prints_every_feature_split_and_domain(
    data: Path, profile: DataProfile, capsys: pytest.CaptureFixture[str]
) -> None:
    command.main([str(data)])
    text = capsys.readouterr().out
    lines = text.splitlines()
    assert lines[0].startswith("rows: pretrain 600, finetune 600, validation 600, test 600;")
    names = [line.split(" (")[0] for line in lines if " (" in line and line[0] != " "]
    assert names == profile.furthest_first()
    assert names[0] == "price"
    for domain in profile.labels["test"]:
        assert f"\n{domain} " in text
    assert lines[-1].startswith("  price: 0 on every row of test")

    command.main([str(data), "--json"])
    printed = json.loads(capsys.readouterr().out)
    written = json.loads((data / PROFILE_FILE).read_text())
    assert printed | {"sha256": written["sha256"]} == written


def test_a_dataset_that_is_older_than_profiles_has_none(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = shutil.copytree(data, tmp_path / "data")
    (old / PROFILE_FILE).unlink()
    manifest = json.loads((old / "manifest.json").read_text())
    del manifest["profile"], manifest["sha256"]
    (old / "manifest.json").write_text(json.dumps(manifest))
    assert read_profile(old) is None
    (tmp_path / "copy.json").write_text("of another dataset")
    copy_profile(old, load_manifest(old), tmp_path / "copy.json")
    assert not (tmp_path / "copy.json").exists()
    with pytest.raises(SystemExit):
        run(lambda: command.main([str(old)]))
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "older than profiles; run preprocessing.task again" in said


@pytest.fixture(scope="module")
def job(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A job directory as far as preprocessing looks at it."""
    folder = tmp_path_factory.mktemp("job")
    shutil.copytree(data / "transform", folder / "backbone" / "transform")
    digest = load_manifest(data).transform_digest
    (folder / "backbone" / "fingerprint.json").write_text(json.dumps({"transform": digest}))
    copy_profile(data, load_manifest(data), folder / "backbone" / PROFILE_FILE)
    return folder


def later_days(rows: list[Row], transform: Path, folder: Path) -> DataProfile:
    """The profile of logs without the pre-training day, under another dataset's transform."""
    later = [row for row in rows if split_of(row) != "pretrain"]
    write_json(folder / "logs" / "a.jsonl", later)
    settings = experiment(BATCHES)
    source, output = str(folder / "logs"), str(folder / "data")
    Job(settings, source, output, IN_PROCESS, str(transform)).run()
    found = read_profile(folder / "data")
    assert found is not None
    return found


@pytest.mark.parametrize("kind", ["dataset", "job", "dataset of a dataset"])
def test_new_logs_are_compared_with_the_rows_that_the_transform_was_fitted_on(
    kind: str, data: Path, job: Path, profile: DataProfile, rows: list[Row], tmp_path: Path
) -> None:
    source = job if kind == "job" else data
    if kind == "dataset of a dataset":
        later_days(rows, data, tmp_path / "between")
        source = tmp_path / "between" / "data"
    found = later_days(rows, source, tmp_path)
    assert found.reference == profile.reference
    assert found.rows["pretrain"] == 0
    assert [change.feature for change in found.changes] == ["price"]
    for name, feature in found.features.items():
        assert feature.reference == profile.features[name].reference
        for split in ("finetune", "validation", "test"):
            here, there = feature.splits[split], profile.features[name].splits[split]
            assert here.missing == there.missing
            assert here.distance == there.distance
            assert here.mean == pytest.approx(there.mean)


def test_without_a_profile_at_hand_nothing_is_compared_and_a_note_says_so(
    job: Path, rows: list[Row], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = shutil.copytree(job, tmp_path / "job")
    (old / "backbone" / PROFILE_FILE).unlink()
    found = later_days(rows, old, tmp_path)
    assert found.reference is None
    assert found.changes == ()
    assert all(
        feature.reference is None and one.distance is None
        for feature in found.features.values()
        for one in feature.splits.values()
    )
    capsys.readouterr()
    say_changes(str(tmp_path / "data"))
    (note,) = capsys.readouterr().err.splitlines()
    assert note.startswith(f"note: {tmp_path / 'data'} is compared with nothing")
    command.main([str(tmp_path / "data")])
    assert "no rows to compare with are at hand" in capsys.readouterr().out


def test_a_damaged_profile_of_the_transforms_job_is_one_line(
    job: Path, rows: list[Row], tmp_path: Path
) -> None:
    broken = shutil.copytree(job, tmp_path / "job")
    for content in (
        "[]",
        "{",
        '{"format": 1}',
        (broken / "backbone" / PROFILE_FILE).read_text()[1:],
    ):
        (broken / "backbone" / PROFILE_FILE).write_text(content)
        with pytest.raises(InputError, match=r"--transform: .*profile\.json: "):
            later_days(rows, broken, tmp_path)
