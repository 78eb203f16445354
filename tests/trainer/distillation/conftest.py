"""A student that is smaller than the small job's backbone."""

from configs import Experiment
from tests.trainer.conftest import variant

STUDENT = (
    (
        "backbone={embedding_dimension: 2, experts: 2, expert_layers: [4], tower_layers: [4],"
        " debias: {feature: position, layers: [4]}}"
    ),
    "features.history.attention=false",
)


def student(weight: float | None = None, *settings: str) -> Experiment:
    """The student's experiment, with a teacher of a weight where one is given."""
    teacher = () if weight is None else (f"pretrain.teacher.weight={weight}",)
    return variant(*STUDENT, *teacher, *settings)
