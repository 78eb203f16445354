"""A method's options, checked."""

from typing import Any, TypeVar

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, ValidationError

from configs import Experiment, InputError
from configs.domains import Domain, named_domains
from configs.section import Section


class Training(Section):
    """How all weights of a backbone are trained.

    Attributes:
      epochs: passes over the rows.
      batch_size: rows of a step.
      learning_rate: of Adam, for everything but embeddings; that of the ``pretrain`` section where
        None.
      embedding_learning_rate: of row-wise Adagrad, for embeddings; likewise.
    """

    epochs: NonNegativeInt = 1
    batch_size: PositiveInt = 1024
    learning_rate: PositiveFloat | None = None
    embedding_learning_rate: NonNegativeFloat | None = None


_Options = TypeVar("_Options", bound=Section)


def read_options(kind: type[_Options], method: str, options: dict[str, Any]) -> _Options:
    """The options as a method takes them. Raises ``InputError`` where one is unknown or has no
    sound value.
    """
    try:
        return kind.model_validate(options)
    except ValidationError as error:
        first = error.errors()[0]
        where = "".join(f".{key}" for key in first["loc"])
        raise InputError(
            f"options of {method}{where}: {first['msg'].removeprefix('Value error, ')}"
        ) from None


def chosen_domains(experiment: Experiment, names: tuple[str, ...]) -> list[Domain]:
    """The domains of these names, all but ``all`` where none is named. Raises ``InputError``
    where one is unknown.
    """
    specific = [domain for domain in experiment.domains if domain.conditions]
    return named_domains(specific, names, "options.domains")


def training_splits(experiment: Experiment, names: tuple[str, ...], scored: list[str]) -> list[str]:
    """The splits of these names; those of pre-training and fine-tuning where none is named.

    Raises ``InputError`` where one is unknown, or holds rows that judge.
    """
    for name in names:
        if name not in experiment.splits:
            raise InputError(
                f"options.splits: '{name}' is no split; the config has:"
                f" {', '.join(experiment.splits)}"
            )
        if name in (experiment.finetune.validation, *scored):
            raise InputError(f"options.splits: rows of '{name}' judge; they must not train")
    return list(dict.fromkeys(names or (experiment.pretrain.split, experiment.finetune.split)))
