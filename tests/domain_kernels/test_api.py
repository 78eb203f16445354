"""The Python API: it is what the commands call, nothing is loaded before it is asked for, and a
model in this process ranks as it scores.
"""

import inspect
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

import domain_kernels
import preprocessing.task
import serving.export.__main__
import trainer.task
from configs import Experiment, InputError
from configs.errors import in_words_of_python
from domain_kernels import Ranker, evaluate, finetune, preprocess, pretrain, simulate
from serving.client import Ranker as RemoteRanker
from serving.wire.messages import SignatureDef
from serving.wire.row_codec import encode_rows
from tests.conftest import QUICKSTART, ROOT, SMALL
from tests.test_startup import HEAVY
from trainer.job import Job
from trainer.steps import check_keras, tensorflow_loaded

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
    assert inspect.unwrap(domain_kernels.preprocess) is preprocessing.task.preprocess
    for name in ("pretrain", "finetune", "evaluate"):
        assert inspect.unwrap(getattr(domain_kernels, name)) is getattr(trainer.task, name)
        assert getattr(domain_kernels, name) is getattr(domain_kernels, name)
    assert inspect.unwrap(domain_kernels.export) is serving.export.__main__.export
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


def test_a_place_that_holds_no_versions_is_said(tmp_path: Path) -> None:
    version = tmp_path / "models" / "3"
    version.mkdir(parents=True)
    (version / "saved_model.pb").touch()
    cases: tuple[tuple[str | Path, str], ...] = (
        (version, f"expected the folder that it is in, {version.parent}, and version=3"),
        ("gs://bucket/models", "gs://bucket/models: is at a store"),
        ("s3://bucket/models", "s3://bucket/models: is at a store"),
    )
    for wrong, said in cases:
        with pytest.raises(InputError, match=said):
            Ranker(wrong)
    with pytest.raises(InputError, match="no version stable; there are: 3"):
        Ranker(version.parent, version="stable")


def test_a_model_is_closed_once_and_then_refuses(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "3").mkdir()
    closed: list[int] = []
    loaded: list[int] = []

    def load(number: int, path: Path) -> SimpleNamespace:
        loaded.append(number)
        return SimpleNamespace(signatures={}, close=lambda: closed.append(number))

    monkeypatch.setattr("serving.in_process.model.load", load)
    ranker = Ranker(tmp_path, version="3")  # as a number
    ranker.close()
    ranker.close()
    assert loaded == closed == [3]
    for ask in (
        lambda: ranker.rank({}, [{}]),
        lambda: ranker.rank({}, [{}], shadow_version=3),
        lambda: ranker.score([{}]),
    ):
        with pytest.raises(InputError, match="closed"):
            ask()
    assert loaded == [3]


def test_one_text_is_a_list_of_one() -> None:
    assert Experiment.load(QUICKSTART, "seed=77").seed == 77
    with pytest.raises(InputError, match="'scene=hoem' is no domain of this config"):
        finetune(Experiment.load(QUICKSTART), "data", "job", "scene=hoem")


def test_mistakes_name_arguments_where_the_commands_name_flags(tmp_path: Path) -> None:
    experiment = Experiment.load(QUICKSTART, SMALL)
    cases: tuple[tuple[Callable[[], object], str], ...] = (
        (lambda: Experiment.load(QUICKSTART, "seed"), "overrides: seed: expected key.path=value"),
        (lambda: finetune(experiment, "d", "j", "x"), "domains: 'x' is no domain of this config"),
        (lambda: evaluate(experiment, "d", "j", "x"), "split: 'x' is no split of this config"),
        (
            lambda: preprocess(experiment, "o", "logs", transform="t", grow="g"),
            "transform and grow are both given: ",
        ),
    )
    for call, said in cases:
        with pytest.raises(InputError) as error:
            call()
        assert str(error.value).startswith(said)
        assert "--" not in str(error.value)
    with pytest.raises(InputError, match="--domains: 'x' is no domain"):
        inspect.unwrap(finetune)(experiment, "d", "j", "x")


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("give --job-dir or --jobs", "give job_dir or --jobs"),
        (
            "run python -m trainer.task --job-dir J; or --data",
            "run python -m trainer.task --job-dir J; or data",
        ),
        ("a--data is none", "a--data is none"),
    ],
)
def test_flags_of_a_command_that_is_written_out_stay(said: str, expected: str) -> None:
    with (
        pytest.raises(InputError) as error,
        in_words_of_python({"--job-dir": "job_dir", "--data": "data"}),
    ):
        raise InputError(said)
    assert str(error.value) == expected


def test_a_step_says_that_keras_3_is_there_already(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = SimpleNamespace(keras=SimpleNamespace(version=lambda: "3.10.0"))
    monkeypatch.setitem(sys.modules, "tensorflow", taken)
    with (
        pytest.raises(InputError, match=r"Keras 3\.10\.0 .* restart"),
        tensorflow_loaded(),
    ):
        raise AssertionError("the step was run")
    monkeypatch.setitem(sys.modules, "tensorflow", SimpleNamespace(keras=SimpleNamespace()))
    check_keras()


def test_a_step_is_not_alone_in_its_process_unless_that_is_said() -> None:
    assert inspect.signature(pretrain).parameters["alone"].default is False


def test_rows_that_are_none_are_said() -> None:
    shop = {"shop_id": "s1"}
    for rows, said in (
        (shop, "expected a list of rows, received dict"),
        ([shop, ["s1"]], "row 1: expected raw features by name, received list"),
        ("s1", "row 0: expected raw features by name, received str 's'"),
    ):
        with pytest.raises(InputError, match=said):
            encode_rows(SignatureDef(), rows)  # type: ignore[arg-type]


def test_logs_are_not_simulated_into_a_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="gs://bucket/logs"):
        simulate(Experiment.load(QUICKSTART), "gs://bucket/logs")
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_loaded_is_said(models_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no version 7; there are: 1"):
        Ranker(models_dir, version=7)
    with pytest.raises(InputError, match="holds no version"):
        Ranker(tmp_path)
    with pytest.raises(InputError, match="No such file"):
        Ranker(tmp_path / "none")
    assert issubclass(Ranker, RemoteRanker)
