"""What clients rely on: a name, data type or rank that changes fails here, and only a change of
``signature.lock.json`` mends it.
"""

import copy
import json
from pathlib import Path
from typing import Any

import trainer  # isort: skip  # noqa: F401 - must come before TensorFlow
import pytest

from configs import Experiment, load_experiment
from serving import signature_lock
from serving.export.supported_ops import read_meta_graph
from serving.export.version_writer import export
from serving.signature_lock import (
    CONTRACT,
    LOCK,
    QUICKSTART,
    contract_of,
    differences,
    signatures_of,
)
from tests.conftest import QUICKSTART as CONFIG
from tests.conftest import SMALL
from tests.serving.jobs import loud_job, made_up

AGREED: dict[str, Any] = json.loads(LOCK.read_text())


@pytest.fixture(scope="module")
def version(experiment: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lock")
    return export(loud_job(folder / "job", experiment, made_up(experiment)), folder / "models")


def test_the_quickstart_offers_what_was_agreed(version: Path) -> None:
    assert differences(AGREED[QUICKSTART], signatures_of(read_meta_graph(version))) == []


def test_every_config_offers_the_contract(tmp_path: Path) -> None:
    """Other features, no position, no topics but one."""
    changed = load_experiment(
        CONFIG,
        [
            *SMALL,
            "cross_topics=[]",
            "topics={region: {column: region, values: [r1]}}",
            "backbone.debias=null",
        ],
    )
    offered = signatures_of(
        read_meta_graph(
            export(loud_job(tmp_path / "job", changed, made_up(changed)), tmp_path / "models")
        )
    )
    assert differences(AGREED[CONTRACT], contract_of(offered)) == []
    assert differences(AGREED[QUICKSTART], offered) != []


def test_the_contract_is_the_documented_one() -> None:
    scores = {"score": "float [-1]", "served_domain": "string [-1]"}
    side_by_side = {"score": "float [-1, -1]", "domains": "string [-1]"}
    assert AGREED[CONTRACT] == {
        "serving_default": {"inputs": {"domain": "string [-1]"}, "outputs": scores},
        "rank": {"inputs": {"domain": "string [1]"}, "outputs": scores},
        "examples": {
            "inputs": {"domain": "string [-1]", "examples": "string [-1]"},
            "outputs": scores,
        },
        "all_domains": {"inputs": {}, "outputs": side_by_side},
    }


@pytest.mark.parametrize(
    ("side", "name", "shown"),
    [
        ("inputs", "user_id", "int64 [-1]"),
        ("inputs", "history", "string [-1]"),
        ("outputs", "ctr", None),
    ],
)
def test_a_change_is_named(side: str, name: str, shown: str | None) -> None:
    changed = copy.deepcopy(AGREED[QUICKSTART])
    before = changed["serving_default"][side].pop(name)
    if shown:
        changed["serving_default"][side][name] = shown
    assert differences(AGREED[QUICKSTART], changed) == [
        f"serving_default {side} {name}: expected {before}, received {shown or 'nothing'}"
    ]
    assert len(differences(changed, AGREED[QUICKSTART])) == 1


@pytest.mark.parametrize("flags", [[], ["--all"]])
def test_the_command_says_what_differs(
    version: Path,
    flags: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.argv", ["signature_lock", str(version), *flags])
    with pytest.raises(SystemExit) as caught:
        signature_lock.main()
    assert (caught.value.code, capsys.readouterr().out) == (0, "as agreed\n")
    other = json.loads(LOCK.read_text())
    for part in other.values():
        part["rank"]["outputs"]["score"] = "double [-1]"
    monkeypatch.setattr(signature_lock, "LOCK", tmp_path / "lock.json")
    (tmp_path / "lock.json").write_text(json.dumps(other))
    with pytest.raises(SystemExit) as caught:
        signature_lock.main()
    assert (caught.value.code, capsys.readouterr().err) == (
        1,
        "rank outputs score: expected double [-1], received float [-1]\n",
    )


def test_the_command_writes_what_a_version_offers(
    version: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signature_lock, "LOCK", tmp_path / "lock.json")
    monkeypatch.setattr("sys.argv", ["signature_lock", str(version), "--write"])
    signature_lock.main()
    assert json.loads((tmp_path / "lock.json").read_text()) == AGREED
