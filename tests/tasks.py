"""The tasks of the quickstart's config, which most tests read."""

from configs import load_experiment
from tests.conftest import QUICKSTART

TASKS = load_experiment(QUICKSTART).tasks
TOWERS = TASKS.towers
TARGETS = tuple(TASKS.targets)
RANKING = TASKS.ranking
