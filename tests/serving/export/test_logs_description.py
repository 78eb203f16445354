"""A version says how the logs were read that its model was trained on, and nothing of what no
request carries.
"""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from configs import InputError, load_experiment
from configs.digests.sealed_json import sealed
from configs.domains import Domain
from preprocessing.logs.schema import Column
from serving.export.logs_description import write_logs_description
from serving.score.archive_model import ArchiveModel
from serving.score.request import Request
from serving.wire.training_logs import LOGS, TrainingLogs
from tests.conftest import QUICKSTART, SMALL

ALONG = (
    "features.visits={kind: list, side: user, vocabulary: {}, max_length: 6, along: history}",
    "data.null_values=['-']",
    "data.max_rejected=0.25",
)
MODEL = ArchiveModel(
    version=1,
    path="models/1",
    fingerprint=None,
    columns={name: Column(name, "strings") for name in ("history", "visits")},
    takes_domain=True,
    outputs=("ctr", "score"),
    lists_alike=(("history", "visits"),),
    logs=TrainingLogs(),
)


@pytest.fixture
def described(tmp_path: Path) -> TrainingLogs:
    experiment = load_experiment(QUICKSTART, [*SMALL, *ALONG])
    domains: tuple[Domain, ...] = experiment.domains
    write_logs_description(tmp_path, experiment, domains)
    return TrainingLogs.of_version(tmp_path)


def test_what_the_config_knew_is_what_archives_are_read_by(described: TrainingLogs) -> None:
    assert described.request == "request_id" and described.row_key == ("impression_id",)
    assert described.null_values == ("-",) and described.max_rejected == 0.25
    model = replace(MODEL, logs=described)
    table = Request.of(model, None, None, None, 4096).table(model)
    assert table.carried == ("impression_id", "request_id")
    assert table.null_values == ("-",)
    assert table.lists_alike == MODEL.lists_alike


def test_a_request_that_the_model_cannot_answer_is_refused(described: TrainingLogs) -> None:
    model = replace(MODEL, logs=described)
    for asked, message in (
        ((("scene=hom"), None, ()), "knows no domain 'scene=hom'; did you mean 'scene=home'"),
        ((None, None, ("score",)), "--keep: 'score' is an output of the model"),
    ):
        with pytest.raises(InputError, match=message):
            Request.of(model, *asked, 4096)
    with pytest.raises(InputError, match="takes no domain, received --domain all"):
        Request.of(replace(model, takes_domain=False), "all", None, (), 4096)
    with pytest.raises(InputError, match="reads 'history' as strings; expected a column of text"):
        Request.of(model, None, "history", (), 4096).table(model)


def test_a_version_without_it_has_the_defaults_and_a_damaged_one_is_refused(
    described: TrainingLogs, tmp_path: Path
) -> None:
    assert TrainingLogs.of_version(tmp_path / "none") == TrainingLogs()
    path = tmp_path / LOGS
    path.write_text(path.read_text().replace("0.25", "0.5"))
    with pytest.raises(InputError, match="damaged: its content is not what was written"):
        TrainingLogs.of_version(tmp_path)


def test_a_former_version_says_more(described: TrainingLogs, tmp_path: Path) -> None:
    former = described.model_dump(mode="json") | {"lists_alike": [["history", "visits"]]}
    (tmp_path / LOGS).write_text(json.dumps(sealed(former)))
    assert TrainingLogs.of_version(tmp_path) == described
