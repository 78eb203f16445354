"""A kernel's manifest: typed, and the same JSON as before it was."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from configs import InputError
from tests.tasks import TOWERS
from tests.trainer.conftest import MANIFEST, SHAPE, auc_figures, bare_job, one_line, random_kernel
from trainer.job import Job
from trainer.kernels.shape import KernelShape
from trainer.registry.kernel_manifest import KernelRecord, manifest_json, parse_manifest
from trainer.registry.kernel_registry import KernelStore
from trainer.registry.model_card import card

FULL: dict[str, Any] = {
    "domain": "scene=home",
    "version": 3,
    "backbone": "f" * 64,
    "files": {"weights.npz": "a" * 64},
    "shape": {**SHAPE.to_json(), "support": 5, "user": "user_id"},
    "seed": 7,
    "kernel": {"width": 4, "decoder_layers": [8, 4], "some_later_key": None},
    "finetune": {"split": "finetune", "validation": "validation", "regulariser": "none", "beta": 1},
    "rows": {"train": 10, "validation": 5},
    "windows": {"train": ["2024-01-01T00:00:00+00:00", "2024-01-08T00:00:00+00:00"]},
    "validation": auc_figures([0.01, 0.02], "undefined"),
    "activated": True,
    "gate": [[0.0, 0.25, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0]],
}
WHERE = Path("manifest.json")


def test_every_key_comes_back_in_its_place() -> None:
    assert json.dumps(manifest_json(parse_manifest(FULL, WHERE))) == json.dumps(FULL)


@pytest.mark.parametrize("name", ["files", "seed", "kernel", "windows", "activated", "gate"])
def test_keys_that_came_later_may_be_missing(name: str) -> None:
    older = {key: value for key, value in FULL.items() if key != name}
    manifest = parse_manifest(older, WHERE)
    assert not getattr(manifest, name)
    assert manifest_json(manifest) == older | ({"files": None} if name == "files" else {})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"later": 1}, "unknown key 'later'"),
        ({"activeted": True}, "did you mean 'activated'?"),
        ({"shape": {**SHAPE.to_json(), "depth": 2}}, "shape: unknown key 'depth'"),
        ({"shape": {**SHAPE.to_json(), "widths": "wide"}}, "shape.widths"),
        ({"rows": {"train": 1}}, "rows.validation: Field required"),
        ({"validation": {"ctr": {"auc": {"delta": "none"}}}}, "validation.ctr.auc"),
    ],
)
def test_what_is_not_understood_is_refused_with_its_place(
    change: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError) as error:
        parse_manifest(FULL | change, WHERE)
    assert one_line(error).startswith("manifest.json: not a kernel's manifest: ")
    assert message in one_line(error)


def test_a_version_is_written_as_before_manifests_were_typed(tmp_path: Path) -> None:
    store = KernelStore(bare_job(tmp_path))
    version = store.add("all", random_kernel(SHAPE, 1), MANIFEST)
    content = json.loads((store.folder / "all" / str(version) / "manifest.json").read_text())
    assert content == MANIFEST | {
        name: content[name] for name in ("domain", "version", "files", "sha256")
    } | {"backbone": store.fingerprint}
    assert list(content)[:4] == ["domain", "version", "backbone", "files"]
    assert store.add("all", random_kernel(SHAPE, 1), KernelRecord.model_validate(MANIFEST)) == 1


def test_a_manifest_is_read_without_the_other_files(tmp_path: Path) -> None:
    job: Job = bare_job(tmp_path)
    store = KernelStore(job)
    store.add("all", random_kernel(SHAPE, 1), MANIFEST)
    (store.folder / "all" / "1" / "weights.npz").unlink()
    assert store.manifest("all", 1).rows.train == 10
    with pytest.raises(InputError, match="no version 2 of domain 'all'"):
        store.manifest("all", 2)
    (store.folder / "all" / "1" / "card.md").unlink()
    with pytest.raises(InputError, match=r"card\.md: cannot be read"):
        store.card("all", 1)


def test_a_card_says_the_positives_of_the_judging_rows_where_they_are_known() -> None:
    assert "- Validated on 5 rows of split" in card(parse_manifest(FULL, WHERE))
    decision = {"outcome": "keep", "reason": "why", "against": "all"}
    judged = FULL | {"decision": decision | {"positives": {"ctr": 3, "ctcvr": 1}}}
    said = "- Validated on 5 rows, 3 CTR and 1 CTCVR positives of split `validation`"
    assert said in card(parse_manifest(judged, WHERE))


def test_a_shape_says_its_towers_where_they_are_not_two() -> None:
    three = replace(SHAPE, towers=3)
    assert three.variables()["weight_0"] == (3, *SHAPE.widths[:2])
    assert KernelShape.from_json(three.to_json()) == three
    assert "towers" not in SHAPE.to_json()
    assert KernelShape.from_json(SHAPE.to_json()).towers == len(TOWERS) == 2
