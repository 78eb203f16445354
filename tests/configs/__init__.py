"""An experiment with something in every section, and how a mistake in it is answered."""

import pytest

from configs import ConfigError, Experiment, parse_experiment

TASKS_AND_SPLITS = """\
tasks: {ctr: {label: click}, cvr: {label: order, after: ctr, entire: {name: ctcvr}}}
splits:
  pretrain: {start: 2024-01-01, end: 2024-01-02}
  finetune: {start: 2024-01-02, end: 2024-01-03}
  validation: {start: 2024-01-03, end: 2024-01-04}
  test: {start: 2024-01-04, end: 2024-01-05}
"""
"""What the small shop's configs share: tasks, and a day for each split."""

CONFIG = (
    """
name: shop
data: {timestamp: time, request: request, user: user, weight: weight, row_key: [request, item]}
"""
    + TASKS_AND_SPLITS
    + """\
features:
  user: {kind: categorical, side: user, vocabulary: {min_count: 2}}
  item: {kind: categorical, side: item, hash_buckets: 100}
  history: {kind: list, side: user, shares: item, attention: true}
  tags: {kind: list, side: item, vocabulary: {}}
  price: {kind: numeric, side: item}
  position: {kind: categorical, side: context, vocabulary: {}}
  moment: {kind: timestamp, side: context, column: time}
  user_item: {kind: cross, side: item, columns: [user, item], hash_buckets: 1_000}
topics:
  scene: {column: scene, values: [home, search]}
  period: {column: time, hours: {early: 00-11, late: 12-23}}
cross_topics: [[scene, period]]
backbone: {debias: {feature: position}}
pretrain: {epochs: 1}
kernel: {width: 8}
finetune: {epochs: 1}
evaluation: {truth: {path: "truth/*.parquet", key: impression}, page: {label: order}}
simulation: {start: 2024-01-01, shops: 200}
"""
)


def accept(*overrides: str, text: str = CONFIG) -> Experiment:
    """The experiment with ``--set`` overrides."""
    return parse_experiment(text, overrides)


def refusal(*overrides: str, text: str = CONFIG) -> str:
    """The one line that the experiment is refused with."""
    with pytest.raises(ConfigError) as caught:
        accept(*overrides, text=text)
    assert "\n" not in str(caught.value)
    return str(caught.value)
