"""The report's section on the data: every split of every feature, and nothing where there is no
profile.
"""

from pathlib import Path

import pytest

from configs import Experiment
from configs.errors import InputError
from preprocessing.profile.changes import change_lines
from preprocessing.profile.data_profile import DataProfile, read_profile
from tests.browser import Page
from tests.trainer.reports.test_html_report import make_job
from trainer.job import Job
from trainer.reports.data_tables import data_sections
from trainer.reports.html_page import escape
from trainer.reports.html_report import write_report


@pytest.fixture(scope="module")
def profile(dataset_dir: Path) -> DataProfile:
    found = read_profile(dataset_dir)
    assert found is not None
    return found


def test_every_feature_split_and_domain_is_shown(
    profile: DataProfile, experiment: Experiment
) -> None:
    page = Page("".join(data_sections(profile)))
    assert page.tags.count("table") == 2
    assert page.tags.count("tr") == 2 + len(experiment.features) + len(profile.labels["pretrain"])
    for split, rows in profile.rows.items():
        assert f"{split}: {rows:,} rows" in page.text
    for name, feature in profile.features.items():
        assert name in page.text
        for found in feature.splits.values():
            assert found.distance is None or f"{found.distance:.3f}" in page.text
    for line in change_lines(profile):
        assert line.strip() in page.text


def test_names_and_values_are_escaped(profile: DataProfile) -> None:
    feature = profile.features["segment"]
    splits = {
        split: found.model_copy(update={"top": {"<script>\x1b": 1.0}})
        for split, found in feature.splits.items()
    }
    odd = profile.model_copy(
        update={"features": {"segment": feature.model_copy(update={"splits": splits})}}
    )
    text = "".join(data_sections(odd))
    assert "<script" not in text
    assert escape("<script>\ufffd 100%") in text


def test_the_report_has_it_where_the_evaluated_dataset_has_a_profile(
    profile: DataProfile, tmp_path: Path
) -> None:
    job = make_job(tmp_path)
    before = Page(write_report(job).read_text(encoding="utf-8"))
    assert "population stability" not in before.text
    Job(job).judged_profile.write_bytes(profile.to_json())
    after = Page(write_report(job).read_text(encoding="utf-8"))
    assert "population stability" in after.text
    assert after.tags.count("table") == before.tags.count("table") + 2
    Job(job).judged_profile.write_text("{")
    with pytest.raises(InputError, match=r"profile\.json: not a profile"):
        write_report(job)


def test_a_job_keeps_the_profile_of_its_dataset(dataset_dir: Path, job_dir: Path) -> None:
    assert Job(job_dir).profile.read_bytes() == (dataset_dir / "profile.json").read_bytes()
