"""The comparison of two scorings: statistics worked out by hand, and the command on two domains
and two servers of a real export.
"""

import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from configs import Experiment, InputError
from serving.client import Client
from serving.compare import __main__ as compare
from serving.compare.logged_traffic import replayed_requests
from serving.compare.paired_differences import Paired, clustered_interval
from serving.selfcheck import log_rows
from serving.server.request_log.request_watch import RequestWatch
from serving.server.request_log.rotated_files import RotatedFiles
from serving.server.request_log.sampled_log import SampledLog
from serving.wire.messages import SignatureDef
from serving.wire.signatures import DEFAULT_SIGNATURE
from tests.serving.conftest import NAME, Peer, serving
from trainer.job import Job
from trainer.registry.kernel_registry import KernelStore

# ---- statistics


def answers(*scores: float, domain: str = "all") -> list[dict[str, Any]]:
    return [
        {"ctr": score, "cvr": 2 * score, "served_domain": domain, "version": 3, "list": [1.0]}
        for score in scores
    ]


def test_differences_and_orders_by_hand() -> None:
    paired = Paired("ctr", most_movers=2)
    paired.add(
        ["a", "b", "c"], answers(0.5, 0.25, 0.125), answers(0.125, 0.25, 0.125, domain="backbone")
    )
    paired.add(["d"], answers(0.5), answers(0.75))
    figures = paired.figures(resamples=200)
    assert figures["requests"] == 2 and figures["rows"] == 4 and figures["other_served_domain"] == 3
    assert set(figures["scores"]) == {"ctr", "cvr"}
    ctr, cvr = figures["scores"]["ctr"], figures["scores"]["cvr"]
    assert ctr["means"] == [0.34375, 0.3125] and ctr["difference"]["mean"] == -0.03125
    assert ctr["difference"]["max"] == 0.375 and ctr["difference"]["same"] == 0.5
    assert cvr["difference"]["mean"] == 2 * ctr["difference"]["mean"]
    # a: 0.5, b: 0.25, c: 0.125 became b, then a and c alike: a and b swapped (1 of 3 pairs), a and
    # c are no longer ordered.
    expected = {
        "by": "ctr",
        "requests": 1,
        "another_first": 1.0,
        "swapped_pairs": 1 / 3,
        "mean_places": 2 / 3,
        "most_places": 1,
    }
    assert figures["order"] == pytest.approx(expected)
    assert [mover["row"] for mover in figures["movers"]] == ["a", "d"]
    assert figures["movers"][0] == {
        "row": "a",
        "scores": {"ctr": [0.5, 0.125], "cvr": [1.0, 0.25]},
        "ranks": [1, 2],
        "served_domain": ["all", "backbone"],
    }


def test_scorings_that_agree() -> None:
    paired = Paired("ctr", most_movers=0)
    paired.add(["a"], answers(0.5), answers(0.5))
    figures = paired.figures(resamples=10)
    assert (
        figures["order"] is None and figures["movers"] == [] and figures["other_served_domain"] == 0
    )
    assert figures["scores"]["ctr"]["difference"] == {
        "mean": 0.0,
        "ci95": None,
        "p95": 0.0,
        "max": 0.0,
        "same": 1.0,
    }


def test_the_interval_resamples_requests_not_rows() -> None:
    generator = np.random.default_rng(5)
    of_request = generator.normal(0.1, 1.0, 400)
    counts = generator.integers(1, 20, 400).astype(np.float64)
    low, high = clustered_interval(of_request * counts, counts, 500, 0)
    mean = (of_request * counts).sum() / counts.sum()
    assert low < mean < high
    assert (
        0.6 < (high - low) / (2 * 1.96 * np.sqrt((counts**2).sum()) / counts.sum()) < 1.6
    )  # the standard error of 400 clusters
    assert clustered_interval(of_request * counts, counts, 500, 0) == (low, high)


def test_scores_must_be_on_both_sides() -> None:
    with pytest.raises(InputError, match="no score 'ctcvr' on both sides; in common are: ctr, cvr"):
        Paired("ctcvr").add(["a"], answers(0.5), answers(0.5))


@pytest.mark.parametrize("width", [60, 80])
def test_the_table_fits_the_terminal(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    paired = Paired("ctr")
    for row in ("requests/a.jsonl:1", "requests/a.jsonl:2"):
        paired.add([row, f"{row}0"], answers(0.5, 0.25), answers(0.125, 0.75, domain="scene=home"))
    figures = {"versions": [[1], [2]], **paired.figures(resamples=10)}
    monkeypatch.setenv("COLUMNS", str(width))
    narrow = compare.text(figures)
    assert all(len(line) <= width for line in narrow.splitlines())
    monkeypatch.setenv("COLUMNS", "1000")
    wide = compare.text(figures)
    assert set(narrow.split()) == set(wide.split())
    assert "score     first     other  difference  " in wide


# ---- the command


@pytest.fixture(scope="module")
def recommender(models_dir: Path) -> Iterator[Peer]:
    with serving(models_dir) as running:
        yield running


@pytest.fixture
def logged(experiment: Experiment, logs: Path, tmp_path: Path) -> Path:
    """Logged rows with the columns that serving does not take (labels, the request's id)."""
    rows = log_rows(experiment, str(logs / "*.parquet"), 60).to_pylist()
    path = tmp_path / "rows.jsonl"
    path.write_text(
        "".join(json.dumps({**row, "domain": "auto"}, default=str) + "\n" for row in rows)
    )
    return path


def compared(flags: list[str], capsys: pytest.CaptureFixture[str]) -> Any:
    compare.main([*flags, "--json"])
    return json.loads(capsys.readouterr().out)


@pytest.fixture
def flags(recommender: Peer, logged: Path) -> list[str]:
    return [
        "--target",
        recommender.target,
        "--model-name",
        NAME,
        "--requests",
        str(logged),
        "--rows=20",
        "--resamples=50",
    ]


def test_two_domains_of_one_version(
    flags: list[str], job_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    active = next(iter(KernelStore(Job(job_dir)).active()))
    figures = compared(
        [*flags, f"--domain={active}", "--other-domain=backbone", "--movers=3"], capsys
    )
    assert (
        figures["requests"] == 3 and figures["rows"] == 60 and figures["other_served_domain"] == 60
    )
    assert figures["versions"] == [[1], [1]] and len(figures["movers"]) == 3
    difference = figures["scores"]["ctcvr"]["difference"]
    assert (
        difference["max"] > 0
        and difference["ci95"][0] <= difference["mean"] <= difference["ci95"][1]
    )
    turned = compared([*flags, "--domain=backbone", f"--other-domain={active}"], capsys)
    assert turned["scores"]["ctcvr"]["difference"]["mean"] == pytest.approx(
        -difference["mean"], rel=1e-4
    )
    assert turned["scores"]["ctcvr"]["means"] == pytest.approx(
        figures["scores"]["ctcvr"]["means"][::-1], rel=1e-4
    )


def test_two_servers_of_one_model_agree(
    flags: list[str], models_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(models_dir) as other:
        figures = compared([*flags, "--other-target", other.target, "--by=ctr"], capsys)
        assert figures["other_served_domain"] == 0
        assert {name: score["difference"]["max"] for name, score in figures["scores"].items()} == {
            "ctr": 0,
            "cvr": 0,
            "ctcvr": 0,
            "score": 0,
        }
        assert figures["order"]["swapped_pairs"] == 0 and figures["order"]["requests"] == 3
        compare.main([*flags, "--other-target", other.target, "--other-domain=backbone"])
    table = capsys.readouterr().out
    assert table.startswith("3 requests, 60 rows, answered by versions 1 and 1\n")
    assert "order by score: another row first in" in table and "rows.jsonl:" in table


def test_requests_by_key(
    flags: list[str], logged: Path, experiment: Experiment, capsys: pytest.CaptureFixture[str]
) -> None:
    key = experiment.data.request
    assert key is not None
    ids = [json.loads(line)[key] for line in logged.read_text().splitlines()]
    figures = compared([*flags, "--other-domain=all", f"--request-key={key}"], capsys)
    assert figures["requests"] == 1 + sum(one != two for one, two in pairwise(ids)) > 3
    with pytest.raises(InputError, match=r"rows.jsonl:1: no 'nothing'"):
        compare.main([*flags, "--other-domain=all", "--request-key=nothing"])


def test_a_log_of_requests_is_replayed_as_the_requests_were(
    flags: list[str],
    logged: Path,
    models_dir: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "log"
    watch = RequestWatch(SampledLog(RotatedFiles(folder, 1 << 20, 1 << 22), 1.0), None)
    rows = [json.loads(line) for line in logged.read_text().splitlines()]
    with (
        serving(models_dir, observe=watch.observe) as peer,
        Client(peer.target, NAME) as client,
    ):
        for start in range(0, 60, 20):
            client.ask(rows[start : start + 20], ignore_unknown=True)
    watch.close()
    from_rows = compared([*flags, "--other-domain=backbone", "--movers=0"], capsys)
    replayed = [*flags, f"--requests={folder}", "--other-domain=backbone"]
    assert compared([*replayed, "--movers=0"], capsys) == from_rows
    (mover,) = compared([*replayed, "--movers=1"], capsys)["movers"]
    assert "requests-0-00000001.tfrecord: record " in mover["row"]
    with pytest.raises(InputError, match="a log of requests, which says itself"):
        compare.main([*replayed, "--request-key=request_id"])
    with pytest.raises(InputError, match=f"no request for model other; it has some for {NAME}"):
        first = Client(peer.target, NAME)
        first._signatures = {DEFAULT_SIGNATURE: SignatureDef()}
        list(replayed_requests(str(folder), first, "other", 20, None))


def test_what_cannot_be_compared(
    flags: list[str], logged: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputError, match="both sides are the same"):
        compare.main(flags)
    with pytest.raises(SystemExit) as ended:
        compare.main([*flags, "--other-version=3"])
    assert ended.value.code == 2 and capsys.readouterr().err.splitlines()[-1].startswith(
        "error: NOT_FOUND: "
    )
    logged.write_text("")
    with pytest.raises(InputError, match=": no rows; expected"):
        compare.main([*flags, "--other-domain=all"])
