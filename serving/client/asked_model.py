"""A model that is asked in rows, whether a server holds it or this process."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from google.protobuf.message import Message

from configs.calls.argument_types import checks_arguments
from configs.errors import InputError
from serving.client.substitution import Substitutions
from serving.wire.row_codec import Row, check_rows, decode_rows, encode_rank, encode_rows
from serving.wire.signatures import DEFAULT_SIGNATURE, DOMAIN, RANK_SIGNATURE

Answers = list[dict[str, Any]]
"""For each row, every output of the signature by name."""


@dataclass(frozen=True)
class Reply:
    """What one request was answered with.

    Attributes:
      rows: for each row, every output by name.
      version: the version that answered all of them.
    """

    rows: Answers
    version: int


class AskedModel(ABC):
    """A model by its signatures: any whose inputs have shape ``[N]`` or ``[N, L]``.

    Args:
      name: of the model, for messages.
      batch_size: most rows in a request of ``predict``.
      strict_domain: refuse an answer that another domain than the one asked for has given;
        otherwise a warning is logged, once for each pair of domains.
    """

    def __init__(self, name: str, *, batch_size: int, strict_domain: bool) -> None:
        self._name = name
        self._batch_size = batch_size
        self._substitutions = Substitutions(strict=strict_domain)
        self._signatures: dict[str, Message] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Lets go of what the model is asked through."""

    @abstractmethod
    def signatures(self) -> dict[str, Message]:
        """What the model can be asked, by name. Raises ``StatusError``."""

    @abstractmethod
    def _run(self, signature: str, inputs: dict[str, Message]) -> tuple[Mapping[str, Message], int]:
        """The outputs of one request by name, and the version that gave them. Raises
        ``StatusError``.
        """

    def has(self, name: str) -> bool:
        """Whether the model has a signature; what it has is asked for once while calls succeed.
        Raises ``StatusError``.
        """
        if not self._signatures:
            self._signatures = self.signatures()
        return name in self._signatures

    def signature(self, name: str) -> Message:
        """One of them. Raises ``InputError`` where the model has no such signature,
        ``StatusError``.
        """
        if name not in self._signatures:
            self._signatures = self.signatures()
        if name not in self._signatures:
            names = ", ".join(sorted(key for key in self._signatures if not key.startswith("__")))
            raise InputError(f"model {self._name} has no signature {name!r}; it has: {names}")
        return self._signatures[name]

    @checks_arguments
    def predict(
        self,
        rows: Sequence[Row],
        domain: str | None = None,
        signature: str = DEFAULT_SIGNATURE,
        *,
        ignore_unknown: bool = False,
        place: Callable[[int], str] = "row {}".format,
    ) -> Answers:
        """Scores of rows, in their order.

        Args:
          rows: raw features by name; missing or null text and numbers are missing values to the
            model, lists are lists of text.
          domain: the domain of every row without a ``domain`` of its own. None where rows have it
            or the signature takes none.
          signature: signature to run.
          ignore_unknown: skip keys that the signature does not take (labels in a log, say) and do
            not refuse them.
          place: where row i (from 0) came from, for messages.

        Returns:
          For each row, every output of the signature by name.

        Raises:
          InputError: a row that does not fit the signature, or a signature that the model does not
            have.
          StatusError: the server refused the request or was not reached; ``code`` is the gRPC code.
        """
        check_rows(rows, place)
        answers: Answers = []
        for start in range(0, len(rows), self._batch_size):
            batch = rows[start : start + self._batch_size]
            answers += self.ask(
                batch,
                domain,
                signature,
                ignore_unknown=ignore_unknown,
                place=_shifted(place, start),
            ).rows
        return answers

    @checks_arguments
    def rank(
        self, shared: Row, items: Sequence[Row], domain: str | None, *, ignore_unknown: bool = False
    ) -> Answers:
        """Scores of one user's candidates, in their order, in one request whatever their number
        (signature ``rank``).

        Args:
          shared: raw user and context features, as in a row of ``predict``; sent and looked up
            once.
          items: raw item features of each candidate.
          domain: the domain that serves all of them, or ``auto``.
          ignore_unknown: skip keys that the signature does not take there, so that a logged row can
            be given for either.

        Returns:
          For each item, every output of the signature by name.

        Raises:
          InputError, StatusError: as ``predict``.
        """
        return (
            self.ask_rank(shared, items, domain, ignore_unknown=ignore_unknown).rows
            if items
            else []
        )

    def ask(
        self,
        rows: Sequence[Row],
        domain: str | None = None,
        signature: str = DEFAULT_SIGNATURE,
        *,
        ignore_unknown: bool = False,
        place: Callable[[int], str] = "row {}".format,
    ) -> Reply:
        """``predict`` in one request, so that one version answers all rows, whatever their
        number.
        """
        known = self.signature(signature)
        inputs = encode_rows(known, rows, domain, ignore_unknown=ignore_unknown, place=place)
        reply = self._predict(known, signature, inputs, len(rows))
        self._substitutions.check([_named(row, domain) for row in rows], reply.rows)
        return reply

    def ask_rank(
        self, shared: Row, items: Sequence[Row], domain: str | None, *, ignore_unknown: bool = False
    ) -> Reply:
        """``rank``, with the version that answered."""
        known = self.signature(RANK_SIGNATURE)
        inputs = encode_rank(known, shared, items, domain, ignore_unknown=ignore_unknown)
        reply = self._predict(known, RANK_SIGNATURE, inputs, len(items))
        self._substitutions.check([_named(shared, domain)] * len(items), reply.rows)
        return reply

    def _predict(self, known: Message, name: str, inputs: dict[str, Message], count: int) -> Reply:
        outputs, version = self._run(name, inputs)
        return Reply(decode_rows(known, outputs, count), version)


def _named(row: Row, domain: str | None) -> str | None:
    """The domain that a row asks for: its own, else that of the request."""
    own = row.get(DOMAIN)
    return domain if own is None else str(own)


def _shifted(place: Callable[[int], str], start: int) -> Callable[[int], str]:
    return lambda index: place(start + index)
