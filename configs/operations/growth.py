"""Defines how a backbone goes on from an older one, and how its vocabularies grow."""

from pydantic import Field

from configs.errors import InputError
from configs.section import Count, Rate, Section


class Growth(Section):
    """How ``preprocessing.task --grow`` grows vocabularies, and how ``pretrain --from`` trains;
    what is not said here of its training is as ``pretrain`` has it.
    """

    forget_days: Rate | None = Field(
        30.0,
        description=(
            "days of new rows in a row without one of a value, after which a new value may take its"
            " place; null: never"
        ),
    )
    epochs: Count = Field(1, description="in place of pretrain.epochs, over the new rows")
    rate: Rate = Field(
        0.25,
        description=(
            "times pretrain.learning_rate and pretrain.embedding_learning_rate are its rates"
        ),
    )


def refuse_progressive(progressive: bool, option: str) -> None:
    """Raises ``InputError`` where a config would have a backbone that goes on learn progressively,
    too.

    Args:
      progressive: ``pretrain.progressive``.
      option: that asks for what goes on.
    """
    if progressive:
        raise InputError(
            "pretrain.progressive: fills rows of tables that the window has not taught, and"
            f" {option} is for a backbone that begins with taught ones; leave one of the two out"
        )
