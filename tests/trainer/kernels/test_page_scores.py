"""Which expression ranks a row: the rule in plain Python, and every row as if its expression were
the only one.
"""

import trainer  # isort: skip  # noqa: F401 - must come before TensorFlow

import numpy as np
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from configs import Experiment
from configs.domains import Domain
from tests.trainer.conftest import random_rows, variant
from trainer.kernels.page_scores import BY_FIELDS, PageScores
from trainer.kernels.scoring import served_outputs

BASE = variant()
DOMAINS = {domain.name: domain for domain in BASE.domains}
CUT = [name for name, domain in DOMAINS.items() if domain.conditions]
TEXTS = ["ctr", "ctr * cvr", "log(ctr - 0.5)", "ctr ** 0.5 * cvr", "ctcvr"]
ROWS = random_rows(300)


def ranked(scores: dict[str, str], score: str | None = "ctr + cvr") -> Experiment:
    return BASE.model_copy(update={"score": score, "scores": scores})


def plain_choice(scores: dict[str, str], known: set[tuple[str, int]]) -> str | None:
    """The expression for what is known of a row: most conditions first, then the topics' order."""
    order = list(BASE.topics)
    matching = [name for name in scores if set(DOMAINS[name].conditions) <= known]
    first = min(
        matching,
        key=lambda name: (
            -len(DOMAINS[name].conditions),
            [order.index(topic) for topic, _ in DOMAINS[name].conditions],
        ),
        default=None,
    )
    return scores[first] if first else None


def alone(text: str | None) -> np.ndarray:
    """Scores of all rows where this is the config's only expression."""
    pages = PageScores(ranked({}, text))
    return served_outputs(pages, ROWS.logits, pages.of_columns(ROWS.columns, 300))["score"]


BY_DOMAIN = st.dictionaries(st.sampled_from(CUT), st.sampled_from(TEXTS), max_size=6)


@settings(max_examples=40)
@given(BY_DOMAIN, st.sampled_from([None, "ctr + cvr", "ctr"]), st.sampled_from(list(DOMAINS)))
def test_the_rule(scores: dict[str, str], score: str | None, asked: str) -> None:
    pages = PageScores(ranked(scores, score))
    place = pages.of_request(DOMAINS[asked])
    own = pages.of_columns(ROWS.columns, 300)
    places = own if place == BY_FIELDS else tf.fill([300], place)
    received = served_outputs(pages, ROWS.logits, places)["score"]
    expected = alone(score)
    topics = {name: ROWS.columns[f"topic/{name}"] for name in BASE.topics}
    for row in range(300):
        fields = {(name, int(index[row])) for name, index in topics.items()}
        known = set(DOMAINS[asked].conditions) or fields
        if text := plain_choice(scores, known):
            expected[row] = alone_of[text][row]
    np.testing.assert_array_equal(received, expected)


alone_of = {text: alone(text) for text in TEXTS}


def test_a_request_that_names_no_topic_is_ranked_by_the_rows_own_fields() -> None:
    pages = PageScores(ranked({"scene=home": "ctr"}))
    assert pages.of_request(None) == pages.of_request(Domain("all")) == BY_FIELDS
    assert pages.of_request(DOMAINS["region=r1,scene=home"]) == 1  # of the page above it
    assert pages.of_request(DOMAINS["scene=search"]) == 0


def test_without_scores_by_domain_no_field_is_read() -> None:
    pages = PageScores(ranked({}))
    assert pages.of_request(None) == pages.of_request(DOMAINS["scene=home"]) == 0
    assert not pages.of_columns({}, 7).numpy().any()


def test_an_expression_that_several_domains_have_is_computed_once() -> None:
    scores = {"scene=home": "ctr", "scene=search": "ctr", "region=r1": "ctr + cvr"}
    pages = PageScores(ranked(scores))
    found = [pages.of_request(DOMAINS[name]) for name in scores]
    assert found == [1, 1, 0]


def test_a_row_whose_own_expression_is_no_number_stands_last() -> None:
    pages = PageScores(ranked({"scene=home": "log(ctr - 2)"}))
    home = ROWS.columns["topic/scene"] == 1
    places = pages.of_columns(ROWS.columns, 300)
    score = served_outputs(pages, ROWS.logits, places)["score"]
    assert (score[home] == np.finfo(np.float32).min).all()
    assert (score[~home] > 0).all()
