"""What the program asks of a feature's settings, whatever its kind."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from configs.section import Count, Section, Width

Side = Literal["user", "item", "context"]

ReadAs = Literal["string", "strings", "number", "numbers", "timestamp"]
"""How a raw column is read."""


class Vocabulary(Section):
    """Values kept with an id of their own, counted on what the backbone learns from
    (``Experiment.fitted_on``) and nothing else.
    """

    min_count: Count = Field(1, description="rows that a value needs to have an id of its own")
    max_size: Count = Field(1_000_000, description="values that have one, the most frequent first")


class FeatureSettings(Section):
    """What the program asks of a feature whatever its kind, so that nothing asks for its class.

    A kind answers otherwise where it differs; what it computes is in ``preprocessing.features``.
    A subclass has a field ``kind``.

    Attributes:
      read_as: how each of its raw columns is read.
      training_only: settings that do not change what the transform gives.
      younger: settings that datasets and backbones may be older than; where they have their
        default, they are no part of a digest.
      side: whose property it is; a request sends what is the item's for every candidate.
      computed_by: of a kind of another package, ``module:class`` of what computes it
        (``preprocessing.features.feature_kind.FeatureKind``).
      gives_value_ids: its output is one id for the value of its one column, so lists may share its
        ids, and rows may be counted by them.
    """

    read_as: ClassVar[ReadAs]
    training_only: ClassVar[frozenset[str]] = frozenset({"side", "dimension"})
    younger: ClassVar[frozenset[str]] = frozenset()
    side: Side = Field(
        description="whose property it is; a request sends what is the item's for every candidate"
    )
    gives_value_ids: ClassVar[bool] = False
    computed_by: ClassVar[str] = ""

    def reads(self, name: str, features: "Mapping[str, FeatureSettings]") -> dict[str, ReadAs]:
        """The raw columns that a feature of this name reads, in order, and how.

        Args:
          name: of the feature.
          features: all of the experiment's, by name.
        """
        return {name: self.read_as}

    def output_names(self, name: str) -> tuple[str, ...]:
        """The outputs that a feature of this name gives."""
        return (name,)

    def decisive(self) -> dict[str, Any]:
        """The settings that decide what the transform gives, JSON-ready."""
        unset = {
            key
            for key in self.younger
            if getattr(self, key) == type(self).model_fields[key].default
        }
        return self.model_dump(mode="json", exclude={*self.training_only, *unset})

    @property
    def can_debias(self) -> bool:
        """Whether it gives one output, of its own name and with one value a row, that its column
        alone decides, so that it may be ``backbone.debias.feature``.
        """
        return False

    @property
    def can_be_crossed(self) -> bool:
        """Whether its outputs are ids that are no text, which a cross may name."""
        return False

    @property
    def joins_columns(self) -> bool:
        """Whether it is made of columns that other features may read by themselves; these are then
        of the side of the others.
        """
        return False

    @property
    def shares_ids_of(self) -> str | None:
        """The feature whose ids and table it uses; None where it has its own."""
        return None

    @property
    def belongs_to(self) -> str | None:
        """The list whose entries its own belong to, one by one; None where it stands alone."""
        return None

    @property
    def weighed_by(self) -> str | None:
        """The column that weighs its list's values, the second that it reads; the output is then
        the second that it gives. None where they count alike.
        """
        return None

    @property
    def list_length(self) -> int | None:
        """How many elements of a list it reads; None where it reads none."""
        return None

    @property
    def vector_size(self) -> int | None:
        """How many numbers its column has in every row that has any; None for any number."""
        return None

    @property
    def width(self) -> int | None:
        """Of the vector of each of its outputs; that of the backbone where None."""
        return None

    @property
    def learns_vectors(self) -> bool:
        """Whether pre-training changes its table."""
        return True

    @property
    def reads_vectors(self) -> bool:
        """Whether its table begins with another model's vectors."""
        return False

    @property
    def number_encoding(self) -> tuple[str, int]:
        """How its number enters the backbone (``numbers.Encoding``), and of how many bins."""
        return "value", 0

    @property
    def expressed(self) -> str | None:
        """The expression of columns of numbers that is its number; None for its column."""
        return None

    @property
    def self_attention(self) -> tuple[int, int] | None:
        """Blocks and heads of a transformer over a list's entries; None without one."""
        return None

    @property
    def oov_ids(self) -> int:
        """How many ids of each of its outputs, from 1, stand for values outside its vocabulary;
        0 without one.
        """
        return 0

    @property
    def hashed_ids(self) -> int:
        """How many ids, from 1, all values are hashed into; 0 where they are not."""
        return 0

    @property
    def shared_ids(self) -> int:
        """Ids below this one stand for several values or none: missing and, beside a vocabulary,
        all values outside it.
        """
        return 1 + self.oov_ids

    @property
    def dropped_ids(self) -> float:
        """Share of known ids that pre-training replaces by an out-of-vocabulary id."""
        return 0.0

    @property
    def pools_by_attention(self) -> bool:
        """Whether a list is pooled with the vector of ``shares_ids_of`` as query, not by its
        mean.
        """
        return False


class OneColumn(FeatureSettings):
    """The settings of a feature that reads a raw column of its own."""

    column: str | None = Field(None, description="raw column; the feature's own name where absent")

    def reads(self, name: str, features: Mapping[str, FeatureSettings]) -> dict[str, ReadAs]:
        return {self.column or name: self.read_as}


class Embedded(OneColumn):
    """The settings of one that becomes a vector."""

    dimension: Width | None = Field(
        None, description="embedding width; backbone.embedding_dimension where absent"
    )

    @property
    def width(self) -> int | None:
        return self.dimension
