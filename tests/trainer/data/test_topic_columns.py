"""Topics that are worked out from the raw columns of a dataset are those of its rows, and those
that the served graph gives; what a dataset cannot answer is one line.
"""

import json
import shutil
import tarfile
from functools import partial
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from configs import Experiment, InputError
from configs.topics import Topic
from preprocessing.dataset.manifest import FileEntry, Manifest
from preprocessing.dataset.record_format import column_formats, decode_block, encode_blocks
from preprocessing.features.fitted import Fitted
from preprocessing.features.kept_columns import KeptColumns, KeptValues
from preprocessing.features.topic import topic_index, topics_of_batch
from preprocessing.logs.schema import ARROW_TYPES, raw_columns
from tests.configs import accept
from tests.test_former_job import ARCHIVE
from tests.trainer.conftest import change_json, one_line
from trainer.data.dataset import Dataset
from trainer.data.raw_columns import RawColumns
from trainer.data.topic_columns import TopicColumns
from trainer.job import Job

FITTED = Fitted('{"features": {}}', {}, {}, {})

VALUES = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1) | (
    st.sampled_from(["r1", "São Paulo", "a=b", "x,y", '"', 'say "hi"', " ", "r1 ", "\u2028", "😀"])
)
PLACES = st.sampled_from(["place", "maker"])
NUMBERS = st.sampled_from([-1e30, -1.0, 0.0, 0.1, 1.0, 7.0, 1e30]) | st.floats(
    -1e6, 1e6, allow_nan=False
)


@st.composite
def topics(draw: st.DrawFn) -> dict[str, Topic]:
    """One topic for each way of cutting, and a second one on the lists."""
    ends = sorted(draw(st.sets(NUMBERS, min_size=1, max_size=5)))
    bounds = [*pairwise(ends)] or [(ends[0], None)]
    if draw(st.booleans()):
        bounds = [(None, ends[0]), *bounds]
    bounds = draw(st.permutations(bounds))
    hours = draw(st.lists(st.integers(0, 23), min_size=1, max_size=6, unique=True))
    named = draw(st.lists(VALUES, min_size=len(bounds), max_size=len(bounds), unique=True))
    clock = draw(st.lists(VALUES, min_size=len(hours), max_size=len(hours), unique=True))
    some = st.lists(VALUES, min_size=1, max_size=5, unique=True)
    return {
        "value": Topic(column=draw(PLACES), values=tuple(draw(some))),
        "range": Topic(column="days", ranges=dict(zip(named, bounds, strict=True))),
        "hour": Topic(
            column="time",
            hours={name: f"{hour:02d}-{hour:02d}" for name, hour in zip(clock, hours, strict=True)},
            time_zone=draw(st.sampled_from(["UTC", "Asia/Kathmandu", "America/New_York"])),
        ),
        "member": Topic(column="labels", contains=tuple(draw(some))),
        "other": Topic(column="labels", contains=tuple(draw(some))),
    }


@st.composite
def rows_of(draw: st.DrawFn, cut_by: dict[str, Topic]) -> list[dict[str, Any]]:
    """Rows that hold values of the topics, others, and nothing."""
    names = [value for topic in cut_by.values() for value in topic.names]
    text = st.none() | st.just("") | st.sampled_from(names) | VALUES
    ends = [end for pair in cut_by["range"].bounds() for end in pair if np.isfinite(end)]
    near = st.sampled_from([float(np.float32(end)) for end in ends]) if ends else st.just(0.0)
    numbers = st.none() | near | st.floats(width=32, allow_nan=False, allow_infinity=False)
    row = {
        "place": text,
        "maker": text,
        "days": numbers,
        "labels": st.none() | st.lists(text, max_size=5),
        "time": st.integers(631_152_000, 4_102_444_800),
    }
    return draw(st.lists(st.fixed_dictionaries(row), min_size=1, max_size=10))


def experiment_of(cut_by: dict[str, Topic]) -> Experiment:
    base = accept("topics={}", "cross_topics=[]", "data.topic_columns=[place, maker]")
    return base.model_copy(update={"topics": cut_by})


def batch_of(experiment: Experiment, rows: list[dict[str, Any]]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict(
        {
            name: pa.array([row.get(name) for row in rows], ARROW_TYPES[column.kind])
            for name, column in raw_columns(experiment).items()
        }
    )


def written(
    experiment: Experiment, batches: list[pa.RecordBatch], folder: Path
) -> tuple[Manifest, dict[str, tf.Tensor]]:
    """A dataset's manifest, dictionaries and columns as preprocessing makes them, read back."""
    values = KeptValues.empty(experiment)
    for batch in batches:
        values.add(batch)
    kept = KeptColumns(
        experiment,
        values.dictionaries(),
        {name: column.longest for name, column in values.by_column.items()},
    )
    (folder / "dictionaries").mkdir(exist_ok=True)
    entries = {}
    for name, dictionary in values.dictionaries().items():
        content = json.dumps(dictionary).encode()
        (folder / "dictionaries" / f"{name}.json").write_bytes(content)
        entries[name] = FileEntry(
            path=f"dictionaries/{name}.json",
            rows=len(dictionary),
            sha256=sha256(content).hexdigest(),
        )
    blocks, formats = [], {}
    for batch in batches:
        columns = {"row/timestamp": batch.column("time").to_numpy(), **kept.of_batch(batch)}
        formats = column_formats(columns)
        blocks += [decode_block(tf.constant(b), formats) for b in encode_blocks(columns)]
    manifest = Manifest(
        data_digest="",
        transform_digest="",
        input="",
        columns=formats,
        vocabulary_sizes={},
        splits={},
        rejected={},
        rejected_files=(),
        transform_files=(),
        outside_splits=0,
        dictionaries=entries,
    )
    return manifest, {name: tf.concat([block[name] for block in blocks], 0) for name in formats}


def tensor_of(topic: Topic, rows: list[dict[str, Any]]) -> tf.Tensor:
    """A topic's column as a request carries it."""
    values = [row[topic.column] for row in rows]
    if topic.read_as == "strings":
        width = max([1, *(len(value or ()) for value in values)])
        padded = [[*(v or "" for v in value or ()), *[""] * width][:width] for value in values]
        return tf.constant(padded, tf.string)
    if topic.read_as == "number":
        return tf.constant([np.nan if v is None else v for v in values], tf.float32)
    if topic.read_as == "timestamp":
        return tf.constant(values, tf.int64)
    return tf.constant([value or "" for value in values], tf.string)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_the_dataset_the_rows_and_the_graph_agree_on_every_topic(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Also where the topics are younger than the dataset."""
    cut_by = data.draw(topics())
    rows = data.draw(rows_of(cut_by))
    old = {} if data.draw(st.booleans()) else cut_by
    kept = "data.topic_columns=[place, maker, days, labels]"
    base = experiment_of(cut_by)
    if not old:  # a config without these topics, whose features say how the columns are read
        base = accept(
            "topics={}",
            "cross_topics=[]",
            "features.days={kind: numeric, side: item}",
            "features.labels={kind: list, side: item}",
            kept,
        )
    cut = data.draw(st.integers(1, len(rows)))
    whole = batch_of(base, rows)
    batches = [part for part in (whole.slice(0, cut), whole.slice(cut)) if part.num_rows]
    folder = tmp_path_factory.mktemp("data")
    manifest, columns = written(base, batches, folder)
    reader = TopicColumns(
        RawColumns(folder, manifest), manifest.dictionaries is None, FITTED, cut_by
    )
    found = reader.of({name: columns[name] for name in reader.read})
    of_rows = topics_of_batch(cut_by, whole)
    assert found.keys() == of_rows.keys() == {f"topic/{name}" for name in cut_by}
    for name, topic in cut_by.items():
        graph = tf.function(partial(topic_index, topic))
        served = graph(tensor_of(topic, rows)).numpy()
        assert served.dtype == found[f"topic/{name}"].dtype == of_rows[f"topic/{name}"].dtype
        assert found[f"topic/{name}"].numpy().tolist() == served.tolist(), name
        assert of_rows[f"topic/{name}"].tolist() == served.tolist(), name
    texts = {
        "value": {row[cut_by["value"].column] for row in rows},
        "member": {member for row in rows for member in row["labels"] or ()},
    }
    texts["other"] = texts["member"]
    assert reader.values_without_rows() == [
        (name, value)
        for name in ("value", "member", "other")
        for value in cut_by[name].names
        if value not in texts[name]
    ]


def test_a_dataset_of_the_whole_job_gives_the_topics_of_its_domains(
    experiment: Experiment, dataset: Dataset
) -> None:
    for split, summary in dataset.manifest.splits.items():
        parts = list(dataset.batches(split, 1_000))
        for domain in experiment.domains:
            rows = sum(
                int(np.all([part[f"topic/{t}"] == i for t, i in domain.conditions], axis=0).sum())
                if domain.conditions
                else len(part["row/weight"])
                for part in parts
            )
            assert rows == summary.domains[domain.name].rows, (split, domain.name)


def later(topics: dict[str, Topic], folder: Path, experiment: Experiment) -> Dataset:
    return Dataset.open(folder, experiment, {**experiment.topics, **topics})


def test_a_later_topic_reads_what_the_dataset_holds(
    experiment: Experiment, dataset_dir: Path
) -> None:
    device = Topic(column="device", values=("ios", "android"))
    dataset = later({"device": device}, dataset_dir, experiment)
    columns = next(dataset.batches("finetune", 100_000))
    names = json.loads((dataset_dir / "dictionaries" / "device.json").read_text())
    assert set(names) >= {"ios", "android"}
    assert set(np.unique(columns["topic/device"])) == {0, 1, 2} - (
        {0} if len(names) == 2 else set()
    )


@pytest.mark.parametrize(
    ("topic", "said"),
    [
        (
            Topic(column="colour", values=("red",)),
            r"topic 'new', of this config or of an active kernel, reads column 'colour', which this"
            r" dataset does not hold \(it holds: .*scene.*; run python -m preprocessing.task with a"
            r" config that has this topic, --transform .* and another --output, and go on with",
        ),
        (
            Topic(column="region", contains=("r1",)),
            "topic 'new' cuts column 'region' by 'contains', which reads lists of text; the dataset"
            " holds text$",
        ),
        (
            Topic(column="region", ranges={"low": (None, 1)}),
            "by 'ranges', which reads numbers; the dataset holds text$",
        ),
    ],
)
def test_what_a_dataset_does_not_hold_is_said(
    topic: Topic, said: str, experiment: Experiment, dataset_dir: Path
) -> None:
    with pytest.raises(InputError, match=said) as error:
        later({"new": topic}, dataset_dir, experiment)
    assert str(dataset_dir) in one_line(error)


@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_a_damaged_dictionary_is_named(
    damage: str, experiment: Experiment, dataset_dir: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(dataset_dir, tmp_path / "data")
    path = folder / "dictionaries" / "region.json"
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(InputError, match=r"region\.json: (missing|damaged): ") as error:
        Dataset.open(folder, experiment)
    assert str(path) in one_line(error)


@pytest.fixture(scope="module")
def former(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("former")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder


def test_an_older_dataset_opens_with_the_topics_that_its_records_hold(former: Path) -> None:
    experiment = Job(former / "job").experiment()
    dataset = Dataset.open(former / "data", experiment)
    for split, summary in dataset.manifest.splits.items():
        columns = next(dataset.batches(split, 100_000))
        for domain in experiment.domains:
            if len(domain.conditions) == 1:
                ((topic, index),) = domain.conditions
                rows = int((columns[f"topic/{topic}"] == index).sum())
                assert rows == summary.domains[domain.name].rows


def test_an_older_dataset_refuses_other_topics_in_one_line_and_hours_need_no_column(
    former: Path,
) -> None:
    experiment = Job(former / "job").experiment()
    region = experiment.topics["region"]
    more = region.model_copy(update={"values": (*region.values, "r4")})
    with pytest.raises(
        InputError, match="it was written before datasets held raw columns"
    ) as error:
        Dataset.open(former / "data", experiment, {**experiment.topics, "region": more})
    assert (
        "topic 'region', of this config or of an active kernel, reads column 'region'"
        in one_line(error)
    )
    night = Topic(column=experiment.data.timestamp, hours={"night": "22-04"})
    dataset = Dataset.open(former / "data", experiment, {"night": night})
    columns = next(dataset.batches("test", 100_000))
    hour = columns["row/timestamp"] // 3600 % 24
    assert columns["topic/night"].tolist() == ((hour >= 22) | (hour <= 4)).astype(int).tolist()


def test_an_empty_split_is_said_before_anything_is_read(
    experiment: Experiment, dataset_dir: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(dataset_dir, tmp_path / "data")
    change_json(
        folder / "manifest.json",
        lambda manifest: manifest["splits"]["test"].update(rows=0, files=[]),
    )
    dataset = Dataset.open(folder, experiment)
    for read in (lambda: dataset.rows("test"), lambda: dataset.batches("test", 10)):
        with pytest.raises(InputError, match="no rows in split test; rows are in pretrain, f"):
            read()
    assert dataset.rows("finetune") > 0
