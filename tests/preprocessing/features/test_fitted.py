"""The fitted transform on disk: what is saved is what is loaded, and damage is named."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from configs import Experiment, InputError, parse_experiment
from preprocessing.features.fitted import Fitted
from tests.preprocessing.features.test_transform import CONFIG, EXPERIMENT, FITTED


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    FITTED.save(str(tmp_path / "transform"))
    return tmp_path / "transform"


def test_a_round_trip_keeps_every_bit(folder: Path) -> None:
    loaded = Fitted.load(str(folder))
    assert loaded == FITTED
    assert loaded.files() == FITTED.files()
    assert loaded.digest == FITTED.digest


def test_awkward_constants_come_back(tmp_path: Path) -> None:
    awkward = replace(
        FITTED,
        moments={
            "price": (0.1 + 0.2, 5e-324),
            "rating": (-0.0, 1.7976931348623157e308),
            "plain": (1 / 3, 1.0),
        },
        boundaries={"stock": (-1e-300, 0.1), "age": ()},
        vocabularies={"user": (), "item": ("\x85", "\u2028", "\x0b", "\0", " "), "tags": ("a",)},
    )
    awkward.save(str(tmp_path))
    assert Fitted.load(str(tmp_path)) == awkward


def test_the_files_are_text_for_people(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == [
        "item.txt",
        "tags.txt",
        "transform.json",
        "user.txt",
    ]
    assert (folder / "tags.txt").read_text() == "anna\n7\né\n"
    assert (
        json.loads((folder / "transform.json").read_bytes())["settings"]["features"]["user"][
            "oov_buckets"
        ]
        == 3
    )


def test_saving_again_replaces(folder: Path) -> None:
    other = replace(FITTED, vocabularies=dict.fromkeys(FITTED.vocabularies, ("b",)))
    other.save(str(folder))
    assert Fitted.load(str(folder)) == other


@pytest.mark.parametrize(
    "changed",
    [
        replace(FITTED, vocabularies={**FITTED.vocabularies, "tags": ("7", "anna", "é")}),
        replace(FITTED, vocabularies={**FITTED.vocabularies, "tags": ("anna", "7")}),
        replace(FITTED, moments={**FITTED.moments, "price": (1.5000000000000002, 2.5)}),
        replace(FITTED, boundaries={**FITTED.boundaries, "stock": (-1.0, 0.0)}),
        replace(
            FITTED,
            settings=Fitted.settings_of(parse_experiment(CONFIG, ["features.user.oov_buckets=4"])),
        ),
    ],
)
def test_the_digest_is_over_everything(changed: Fitted) -> None:
    assert changed.digest != FITTED.digest


def test_the_digest_never_changes() -> None:
    """It is stored in manifests and fingerprints: another release that computed it otherwise
    would refuse every dataset there is.
    """
    settings = '{"features": {}, "topics": {}}'
    constants = {"a": ("x", "é")}, {"n": (0.5, 2.0)}, {"b": (1.0,)}
    digests = {version: Fitted(settings, *constants, version).digest for version in (1, 2)}
    assert digests == {
        1: "d47dfcb4a743c349c71a130aa8aecb385dbe5c74508217d5a5f7ec4e79f28796",
        2: "8957c7d368de45d333523a27e2bcaa90adf04611a99d61c65c03d7ce8088a94d",
    }


@pytest.mark.parametrize("version", [0, 3, "2", None, True])
def test_an_unknown_version_is_refused(folder: Path, version: object) -> None:
    path = folder / "transform.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": version}))
    with pytest.raises(InputError, match="a newer program wrote it"):
        Fitted.load(str(folder))


@pytest.mark.parametrize("name", ["transform.json", "tags.txt"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(InputError, match="not a fitted transform") as caught:
        Fitted.load(str(folder))
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere: not a fitted transform"):
        Fitted.load(str(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b"7",
        b"{}",
        b'{"settings": {}, "vocabularies": [], "moments": {"a": ["0x1p0"]}, "boundaries": {}}',
        b'{"settings": {}, "vocabularies": [], "moments": {"a": ["x", "y"]}, "boundaries": {}}',
        b'{"settings": {}, "vocabularies": [], "moments": {}, "boundaries": {"a": 3}}',
        b'{"settings": {}, "vocabularies": [], "moments": [], "boundaries": {}}',
        b'{"settings": {}, "vocabularies": 3, "moments": {}, "boundaries": {}}',
        b'{"settings": {}, "vocabularies": [], "moments": {"a": [1.0, 2.0]}, "boundaries": {}}',
    ],
)
def test_damaged_constants_are_refused(folder: Path, content: bytes) -> None:
    (folder / "transform.json").write_bytes(content)
    with pytest.raises(InputError, match="not a fitted transform"):
        Fitted.load(str(folder))


def test_a_vocabulary_of_other_bytes_is_refused(folder: Path) -> None:
    (folder / "user.txt").write_bytes(b"a\xff\n")
    with pytest.raises(InputError, match="not a fitted transform"):
        Fitted.load(str(folder))


def test_a_cut_vocabulary_has_another_digest(folder: Path) -> None:
    for cut in (1, 2, 3):
        (folder / "tags.txt").write_bytes((folder / "tags.txt").read_bytes()[:-cut])
        assert Fitted.load(str(folder)).digest != FITTED.digest


@pytest.mark.parametrize(
    "override",
    [
        "features.user.oov_buckets=4",
        "features.tags.max_length=3",
        "features.price.log1p=false",
        "features.here.time_zone=UTC",
        "features.new={kind: numeric, side: item}",
    ],
)
def test_other_settings_are_named(override: str) -> None:
    section = ".".join(override.split("=")[0].split(".")[:2])
    with pytest.raises(
        InputError,
        match=rf"^data: fitted for other settings of {section}; run preprocessing\.task again \(",
    ):
        FITTED.check_matches(parse_experiment(CONFIG, [override]), "data")


def test_every_other_setting_is_named_at_once() -> None:
    other = parse_experiment(
        CONFIG.replace("  city: {kind: categorical, side: user, hash_buckets: 7}\n", ""),
        ["features.price.log1p=false"],
    )
    with pytest.raises(
        InputError, match=r"other settings of features\.city, features\.price; ask somebody$"
    ):
        FITTED.check_matches(other, "data", "ask somebody")


def test_another_order_of_features_is_named() -> None:
    values = EXPERIMENT.model_dump(mode="json")
    values["features"] = dict(reversed(values["features"].items()))
    reordered = Experiment.model_validate(values)
    with pytest.raises(InputError, match="other settings of the order of features; "):
        FITTED.check_matches(reordered, "data")


def test_topics_of_an_older_transform_are_part_of_its_digest_alone() -> None:
    """Before datasets held raw columns, a transform's settings had the experiment's topics."""
    older_settings = {**json.loads(FITTED.settings), "topics": {"scene": {"column": "scene"}}}
    older_settings["order"] = {**older_settings["order"], "topics": {"scene": ["home"]}}
    older = replace(FITTED, settings=json.dumps(older_settings, sort_keys=True))
    older.check_matches(EXPERIMENT, "data")
    assert older.same_outputs_as(FITTED)
    assert older.digest != FITTED.digest


@pytest.mark.parametrize(
    "override",
    [
        "features.user.side=context",
        "features.user.dimension=3",
        "features.user.id_dropout=0.2",
        "seed=1",
        "topics={scene: {column: scene, values: [home]}}",
        "data.topic_columns=[scene]",
    ],
)
def test_settings_of_training_alone_still_match(override: str) -> None:
    FITTED.check_matches(parse_experiment(CONFIG, [override]), "data")
    FITTED.check_matches(EXPERIMENT, "data")
