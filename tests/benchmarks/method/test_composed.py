"""What domains change, added up, by hand."""

import numpy as np
import pytest

from benchmarks.method.methods.tuned import composed
from benchmarks.method.outcome import auto_answers
from configs.domains import ALL
from tests.trainer.conftest import domains_of, random_rows, variant

DOMAINS = domains_of(variant(), "scene=home", "region=r1", "region=r1,scene=home")


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_a_row_gets_the_changes_of_its_single_topic_domains(share: float) -> None:
    data = random_rows(40)
    home, region, cross = (data.domain_rows(domain) for domain in DOMAINS)
    everyone = data.logits + 1.0
    own = {
        ALL: everyone,
        "scene=home": everyone[home] + 2.0,
        "region=r1": everyone[region] + 4.0,
        "region=r1,scene=home": everyone[cross] + 100.0,  # a cross-topic one adds nothing
    }
    found = composed(data, DOMAINS, own, share)
    both = np.isin(np.arange(40), home), np.isin(np.arange(40), region)
    expected = everyone + share * (2.0 * both[0] + 4.0 * both[1])[:, np.newaxis]
    np.testing.assert_allclose(found[ALL], expected, rtol=1e-6)
    assert len(cross) > 0
    for domain, rows in zip(DOMAINS, (home, region, cross), strict=True):
        np.testing.assert_allclose(found[domain.name], expected[rows], rtol=1e-6)
    np.testing.assert_array_equal(own[ALL], data.logits + 1.0)


def test_as_served_is_of_active_kernels_and_leaves_one_that_matches_alone() -> None:
    data, experiment = random_rows(40), variant()
    home, region, cross = (data.domain_rows(domain) for domain in DOMAINS)
    own = {
        ALL: data.logits + 1.0,
        "scene=home": data.logits[home] + 3.0,
        "region=r1": data.logits[region] + 5.0,
        "region=r1,scene=home": data.logits[cross] + 100.0,
    }
    inside = [np.isin(np.arange(40), rows)[:, np.newaxis] for rows in (home, region, cross)]

    def added(*active: str) -> np.ndarray:
        return auto_answers(experiment, data, own, active, 0.5) - data.logits

    # where one matches all of its change, where both do half of each
    alone = np.where(inside[0], 3.0, np.where(inside[1], 5.0, 1.0))
    both = np.where(inside[0] & inside[1], 4.0, alone) + np.zeros_like(data.logits)
    np.testing.assert_allclose(added(ALL, "scene=home", "region=r1"), both, atol=1e-5)
    np.testing.assert_allclose(added(*own), np.where(inside[2], 100.0, both), atol=1e-5)
    np.testing.assert_allclose(added("scene=home"), 3.0 * inside[0] + 0 * both, atol=1e-5)
    np.testing.assert_array_equal(added(), 0 * both)
