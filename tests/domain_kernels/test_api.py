"""The Python API: it is what the commands call, nothing is loaded before it is asked for, and a
model in this process ranks as it scores.
"""

import inspect
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import domain_kernels
import preprocessing.task
import serving.export.__main__
import trainer.task
from configs import Experiment, InputError
from domain_kernels import Ranker
from serving.client import Ranker as RemoteRanker
from tests.conftest import QUICKSTART, ROOT, SMALL
from tests.test_startup import HEAVY
from trainer.job import Job

SHARED = ("user_id", "scene", "region", "timestamp")


@pytest.fixture(scope="module")
def ranker(models_dir: Path) -> Iterator[Ranker]:
    with Ranker(models_dir) as found:
        yield found


@pytest.fixture(scope="module")
def rows(job_dir: Path) -> list[dict[str, object]]:
    return Job(job_dir).golden_requests()[:8]


def test_every_name_is_there_and_described() -> None:
    for name in domain_kernels.__all__:
        found = getattr(domain_kernels, name)
        assert isinstance(found, str) or inspect.getdoc(found), name
    assert not hasattr(domain_kernels, "no_such_name")


def test_the_commands_call_what_the_api_offers() -> None:
    assert domain_kernels.preprocess is preprocessing.task.preprocess
    for name in ("pretrain", "finetune", "evaluate"):
        assert getattr(domain_kernels, name) is getattr(trainer.task, name)
    assert domain_kernels.export is serving.export.__main__.export
    assert Experiment.load(QUICKSTART, SMALL).name == "small"


def test_importing_it_loads_nothing_heavy() -> None:
    look = "import json, sys, domain_kernels; print(json.dumps(sorted(sys.modules)))"
    found = subprocess.run(
        [sys.executable, "-c", look], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = {name.partition(".")[0] for name in json.loads(found.stdout)}
    assert "domain_kernels" in loaded
    assert not loaded & {*HEAVY, "pydantic", "grpc", "numpy", "configs"}


@pytest.mark.parametrize("domain", ["backbone", "all", "auto", "scene=home"])
def test_a_page_is_ranked_by_its_rows_scores(
    ranker: Ranker, rows: list[dict[str, object]], domain: str
) -> None:
    user, shops = rows[0], [{"shop_id": row["shop_id"], "rating": 4.5} for row in rows]
    shared = {name: value for name, value in user.items() if name in SHARED}
    ranking = ranker.rank(shared, shops, domain)
    alone = ranker.score([shared | shop for shop in shops], domain)
    assert ranking.scores == pytest.approx([answer["score"] for answer in alone], abs=1e-6)
    assert ranking.answers[0]["served_domain"] == alone[0]["served_domain"]
    assert ranking.order == sorted(range(len(shops)), key=lambda place: -ranking.scores[place])
    assert ranking.version == 1


def test_a_versions_shadow_is_the_version_itself(
    ranker: Ranker, rows: list[dict[str, object]]
) -> None:
    shared = {name: value for name, value in rows[0].items() if name in SHARED}
    ranking = ranker.rank(shared, [{"shop_id": "s1"}, {"shop_id": "s2"}], shadow_version=1)
    assert ranking.shadow is not None
    assert ranking.shadow.scores == ranking.scores


def test_what_cannot_be_loaded_is_said(models_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no version 7; there are: 1"):
        Ranker(models_dir, version=7)
    with pytest.raises(InputError, match="holds no version"):
        Ranker(tmp_path)
    with pytest.raises(InputError, match="No such file"):
        Ranker(tmp_path / "none")
    assert issubclass(Ranker, RemoteRanker)
