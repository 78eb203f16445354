"""``--transform``: a fitted transform is applied to other logs, and nothing of them is fitted."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from configs import Experiment, InputError
from preprocessing import filesystem
from preprocessing.beam.dataset_job import Job
from preprocessing.dataset.manifest import Manifest, load_manifest
from preprocessing.features.fitted import Fitted
from preprocessing.features.transform import Transform
from tests.preprocessing.shop_logs import (
    IN_PROCESS,
    SPLITS,
    START,
    Row,
    check_files,
    digests,
    experiment,
    make_rows,
    read_rejected,
    read_split,
    split_of,
    write_json,
    write_parquet,
)


def apply(logs: Path, output: Path, transform: Path | str, *overrides: str) -> Manifest:
    return Job(experiment(*overrides), str(logs), str(output), IN_PROCESS, str(transform)).run()


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset with the transform that the tests apply."""
    folder = tmp_path_factory.mktemp("fitted")
    write_parquet(folder / "logs" / "a.parquet", make_rows(400))
    Job(experiment(), str(folder / "logs"), str(folder / "data"), IN_PROCESS).run()
    return folder / "data"


@pytest.fixture(scope="module")
def job(fitted: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A job directory as far as preprocessing looks at it."""
    folder = tmp_path_factory.mktemp("job")
    shutil.copytree(fitted / "transform", folder / "backbone" / "transform")
    digest = load_manifest(fitted).transform_digest
    (folder / "backbone" / "fingerprint.json").write_text(json.dumps({"transform": digest}))
    return folder


def days(*splits: str, seed: int = 5, count: int = 600) -> list[Row]:
    """Rows of these days, among them values that the transform has never seen."""
    rows = [row for row in make_rows(count, seed) if split_of(row) in splits]
    for row in rows[::10]:
        row.update(user="newcomer", item="novelty", scene="maps")
    return rows


def values(columns: dict[str, np.ndarray], dataset: Path) -> dict[str, Any]:
    """A split's columns by row, in the order of their keys; codes as the values that they mean."""
    order = np.argsort(columns["row/truth"])
    found: dict[str, Any] = {}
    for name, array in columns.items():
        found[name] = np.nan_to_num(array[order], nan=-1.0).tolist()
        path = dataset / "dictionaries" / f"{name.removeprefix('raw/')}.json"
        if name.startswith("raw/") and path.exists():
            words = [None, *json.loads(path.read_text())]
            rows = array[order].reshape(len(array), -1)
            found[name] = [sorted(words[code] for code in row if code) for row in rows]
    return found


@pytest.mark.parametrize("kind", ["dataset", "job"])
def test_logs_of_new_days_alone_get_the_ids_of_the_former_transform(
    kind: str, fitted: Path, job: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = fitted if kind == "dataset" else job
    rows = days("finetune", "validation")
    write_json(tmp_path / "logs" / "a.jsonl", rows)
    manifest = apply(tmp_path / "logs", tmp_path / "data", source)
    assert check_files(tmp_path / "data") == manifest
    assert manifest.transform_from == str(source)
    assert manifest.transform_digest == load_manifest(fitted).transform_digest
    assert manifest.data_digest == experiment().data_digest
    assert digests(tmp_path / "data" / "transform") == digests(fitted / "transform")
    assert {name: split.rows for name, split in manifest.splits.items()} == {
        name: sum(split_of(row) == name for row in rows) for name in SPLITS
    }
    assert manifest.splits["pretrain"].files == ()
    assert manifest.splits["pretrain"].domains["scene=home"].rows == 0
    (line,) = [
        line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: no rows")
    ]
    assert line.startswith(
        "warning: no rows in splits pretrain, test: they stay empty; the logs' sound rows are from"
    )

    transform = Transform(experiment(), Fitted.load(str(fitted / "transform")))
    columns = read_split(tmp_path / "data", "finetune")
    unknown = int(transform.features({"user": tf.constant(["newcomer"])})["user"].numpy()[0])
    known = json.loads((tmp_path / "data" / "dictionaries" / "user.json").read_text())
    of_newcomers = columns["raw/user"] == 1 + known.index("newcomer")
    assert of_newcomers.any()
    assert set(columns["feature/user"][of_newcomers]) == {unknown}
    assert set(columns["feature/user"]) > {unknown}


def test_a_dataset_that_was_fitted_says_nothing_of_another(fitted: Path) -> None:
    assert load_manifest(fitted).transform_from is None


def test_the_same_logs_give_the_same_files_as_where_it_was_fitted(
    fitted: Path, tmp_path: Path
) -> None:
    apply(fitted.parent / "logs", tmp_path / "data", fitted)
    received, expected = digests(tmp_path / "data"), digests(fitted)
    assert {name for name in expected if received.get(name) != expected[name]} == {"manifest.json"}
    ours, theirs = load_manifest(tmp_path / "data"), load_manifest(fitted)
    assert ours.model_copy(update={"transform_from": None}) == theirs


def test_late_rows_of_the_pre_training_window_change_nothing(fitted: Path, tmp_path: Path) -> None:
    rows = days(*SPLITS)
    late = [{**row, "request": row["request"] + 10**9} for row in days("pretrain", seed=6)]
    for place, row in enumerate(late):
        row.update(impression=f"late {place}", price=1e6)
    others = [row for row in rows if split_of(row) != "pretrain"]
    write_json(tmp_path / "logs" / "b.jsonl", others)
    first = apply(tmp_path / "logs", tmp_path / "first", fitted)
    write_json(tmp_path / "logs" / "late.jsonl", late)
    second = apply(tmp_path / "logs", tmp_path / "second", fitted)
    assert second.splits["pretrain"].rows == len(late)
    assert second.transform_digest == first.transform_digest
    assert digests(tmp_path / "first" / "transform") == digests(tmp_path / "second" / "transform")
    assert (tmp_path / "first" / "golden_requests.jsonl").read_bytes() == (
        tmp_path / "second" / "golden_requests.jsonl"
    ).read_bytes()
    for split in ("finetune", "validation", "test"):
        assert second.splits[split].domains == first.splits[split].domains
        before, after = (
            values(read_split(tmp_path / name, split), tmp_path / name)
            for name in ("first", "second")
        )
        assert after == before


def test_files_of_other_splits_are_the_same_bytes_where_a_late_row_brings_no_value(
    fitted: Path, tmp_path: Path
) -> None:
    rows = days("finetune", "validation", "test")
    write_json(tmp_path / "logs" / "a.jsonl", rows)
    first = apply(tmp_path / "logs", tmp_path / "first", fitted)
    often = {
        name: json.loads((tmp_path / "first" / "dictionaries" / f"{name}.json").read_text())[0]
        for name in ("user", "item")
    }
    late = {**rows[0], **often, "request": -1, "impression": "late", "time": START + 5}
    write_json(tmp_path / "logs" / "late.jsonl", [{**late, "scene": None, "history": []}])
    second = apply(tmp_path / "logs", tmp_path / "second", fitted)
    assert second.splits["pretrain"].rows == 1
    assert second.dictionaries == first.dictionaries
    for split in ("finetune", "validation", "test"):
        assert second.splits[split] == first.splits[split]


def test_bad_rows_and_duplicates_are_set_aside_as_ever(fitted: Path, tmp_path: Path) -> None:
    rows = days("finetune")
    write_json(tmp_path / "logs" / "a.jsonl", [*rows, {**rows[0], "click": 7}, rows[1], rows[2]])
    manifest = apply(tmp_path / "logs", tmp_path / "data", fitted)
    assert manifest.rejected == {"click: expected 0 or 1": 1, "duplicate of request, item": 2}
    assert len(read_rejected(tmp_path / "data")) == 3
    assert check_files(tmp_path / "data").splits["finetune"].rows == len(rows)


def test_what_would_keep_a_transform_from_being_fitted_is_no_matter(
    fitted: Path, tmp_path: Path
) -> None:
    rows = days("pretrain")
    write_json(tmp_path / "logs" / "a.jsonl", [{**row, "stock": row["click"]} for row in rows])
    manifest = apply(tmp_path / "logs", tmp_path / "data", fitted)
    assert manifest.splits["pretrain"].rows == len(rows)
    assert manifest.golden_requests is None, "there is no row to draw them from"


def test_a_dataset_without_a_later_topics_column_can_be_written_again_with_it(
    fitted: Path, tmp_path: Path
) -> None:
    later = "topics.amount={column: stock, ranges: {few: [~, 10]}}"
    manifest = apply(fitted.parent / "logs", tmp_path / "data", fitted, later)
    assert "raw/stock" in manifest.columns
    assert manifest.data_digest == load_manifest(fitted).data_digest
    assert manifest.splits["test"].domains["amount=few"].rows > 0


def test_a_killed_run_is_swept(
    fitted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_json(tmp_path / "logs" / "a.jsonl", days("finetune"))
    move = filesystem.move
    with monkeypatch.context() as patch:
        patch.setattr(
            filesystem,
            "move",
            lambda moves: move(moves[:3]) or (_ for _ in ()).throw(KeyboardInterrupt),
        )
        with pytest.raises(KeyboardInterrupt):
            apply(tmp_path / "logs", tmp_path / "data", fitted)
    assert not (tmp_path / "data" / "manifest.json").exists()
    before = digests(fitted)
    for output in ("data", "undisturbed"):
        apply(tmp_path / "logs", tmp_path / output, fitted)
    assert digests(tmp_path / "data") == digests(tmp_path / "undisturbed")
    assert digests(fitted) == before


def refusal(tmp_path: Path, transform: Path | str, *overrides: str, splits: str = "test") -> str:
    write_json(tmp_path / "logs" / "a.jsonl", days(splits))
    with pytest.raises(InputError) as caught:
        apply(tmp_path / "logs", tmp_path / "data", transform, *overrides)
    assert not (tmp_path / "data" / "manifest.json").exists()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_is_no_transform_for_these_features_is_refused(
    fitted: Path, job: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    for nowhere in (tmp_path / "empty", tmp_path / "nowhere"):
        assert refusal(tmp_path, nowhere) == (
            f"--transform: {nowhere}: neither a job with a finished backbone"
            " (backbone/fingerprint.json) nor a finished dataset (manifest.json)"
        )
    assert refusal(tmp_path, "nosuch://bucket/job") == (
        "nosuch://bucket/job: Beam has no filesystem for nosuch:// here; expected gs:// or s3://"
    )
    assert refusal(tmp_path, job, "features.price.log1p=false") == (
        f"--transform: {job}: fitted for other settings of features.price; expected the config"
        " that it was fitted for, or no --transform"
    )
    assert "other settings of features.more;" in refusal(
        tmp_path, fitted, "features.more={kind: categorical, side: item, column: scene}"
    )


@pytest.mark.parametrize("kind", ["dataset", "job"])
@pytest.mark.parametrize("damage", ["vocabulary", "constants", "record", "missing"])
def test_a_damaged_transform_is_refused(
    kind: str, damage: str, fitted: Path, job: Path, tmp_path: Path
) -> None:
    source = shutil.copytree(fitted if kind == "dataset" else job, tmp_path / "source")
    folder = source / ("transform" if kind == "dataset" else "backbone/transform")
    record = source / ("manifest.json" if kind == "dataset" else "backbone/fingerprint.json")
    if damage == "vocabulary":
        (folder / "user.txt").write_text("u1\n")
    elif damage == "constants":
        (folder / "transform.json").write_text("{}")
    elif damage == "record":
        record.write_text("[]")
    else:
        (folder / "user.txt").unlink()
    expected = "damaged" if damage in ("vocabulary", "record") else "not a fitted transform"
    message = refusal(tmp_path, source)
    assert expected in message
    assert str(source) in message


def test_the_output_cannot_be_the_transforms_own_folder(fitted: Path, tmp_path: Path) -> None:
    """A run that is killed while it publishes would leave the transform nowhere."""
    data = shutil.copytree(fitted, tmp_path / "source")
    (tmp_path / "link").symlink_to(data)
    before = digests(data)
    for output in (data, tmp_path / "link", data / ".." / "source"):
        write_json(tmp_path / "logs" / "a.jsonl", days("test"))
        with pytest.raises(InputError, match="--transform and --output are the same folder"):
            apply(tmp_path / "logs", output, data)
    assert digests(data) == before


def test_logs_outside_every_split_are_refused(fitted: Path, tmp_path: Path) -> None:
    late = [{**row, "time": row["time"] + 10 * 86_400} for row in days("test")]
    write_json(tmp_path / "logs" / "a.jsonl", late)
    with pytest.raises(
        InputError, match=r"no rows in any split; the logs' sound rows are from 2024"
    ):
        apply(tmp_path / "logs", tmp_path / "data", fitted)


def test_an_older_transform_that_names_topics_keeps_its_digest(
    fitted: Path, job: Path, tmp_path: Path
) -> None:
    """Transforms of before raw columns have the experiment's topics among their settings."""
    source = shutil.copytree(job, tmp_path / "source")
    path = source / "backbone" / "transform" / "transform.json"
    constants = json.loads(path.read_text())
    constants["settings"]["topics"] = {"scene": {"column": "scene", "values": ["home"]}}
    constants["settings"]["order"]["topics"] = ["scene"]
    path.write_text(json.dumps(constants, sort_keys=True, indent=1))
    older = Fitted.load(str(path.parent))
    (source / "backbone" / "fingerprint.json").write_text(json.dumps({"transform": older.digest}))
    write_json(tmp_path / "logs" / "a.jsonl", days("test"))
    manifest = apply(tmp_path / "logs", tmp_path / "data", source)
    assert manifest.transform_digest == older.digest != load_manifest(fitted).transform_digest
    assert (tmp_path / "data" / "transform" / "transform.json").read_bytes() == path.read_bytes()


def test_progressive_experiments_need_no_rows_of_either_window(
    fitted: Path, tmp_path: Path
) -> None:
    write_json(tmp_path / "logs" / "a.jsonl", days("test"))
    manifest = apply(tmp_path / "logs", tmp_path / "data", fitted, "pretrain.progressive=true")
    progressive: Experiment = experiment("pretrain.progressive=true")
    assert manifest.data_digest == progressive.data_digest
