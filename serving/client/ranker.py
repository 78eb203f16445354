"""One user's candidates in, their order out; on demand beside what another domain or version
would have said.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any, Self

from configs.calls.argument_types import checks_arguments
from configs.domain_names import AUTO
from configs.errors import InputError
from configs.prediction.score import SCORE
from serving.client.asked_model import Answers, AskedModel, Reply
from serving.client.client import Client
from serving.wire.errors import StatusError
from serving.wire.row_codec import Row, check_rows
from serving.wire.signatures import DEFAULT_SIGNATURE, DOMAIN, RANK_SIGNATURE

_SHADOWS = 4
"""Shadow requests that are under way at once; more wait."""


@dataclass(frozen=True)
class Ranking:
    """Scored candidates.

    Attributes:
      answers: every output by name for each item, in the order the items were given.
      scores: of each item, the output that the ranker ranks by.
      order: indices of the items, best first; equal scores keep the given order.
      version: the version that scored all of them; None where there were no items.
      shadow: the same items under the other domain or version that was asked for.
      shadow_error: why there is no ``shadow`` although it was asked for; the served scores are not
        touched by that.
    """

    answers: Answers
    scores: list[float]
    order: list[int]
    version: int | None
    shadow: "Ranking | None" = None
    shadow_error: StatusError | InputError | None = None


class Ranker:
    """Ranks candidates by one output of a served model. May be used from several threads."""

    @checks_arguments
    def __init__(
        self,
        target: str,
        model_name: str = "default",
        *,
        by: str = SCORE,
        signature: str | None = None,
        **settings: Any,
    ) -> None:
        """Connects when the first request is sent.

        Args:
          target: ``HOST:PORT``.
          model_name: the model, as the server calls it.
          by: the output to rank by, largest first; what the model's config ranks by where it is not
            given.
          signature: ``rank`` or ``serving_default``; None for ``rank`` where the model has it. A
            server that batches requests refuses ``rank``, whose inputs have unequal first
            dimensions.
          **settings: of ``Client``, which shadow requests share: ``version``, ``deadline_seconds``,
            ``attempts``, ``tls``, ...

        Raises:
          InputError: another signature, or TLS files that cannot be used.
        """
        if signature not in (None, RANK_SIGNATURE, DEFAULT_SIGNATURE):
            raise InputError(
                f"signature must be {RANK_SIGNATURE!r} or {DEFAULT_SIGNATURE!r}, received"
                f" {signature!r}"
            )
        self._by, self._signature = by, signature
        self._connect: Callable[..., AskedModel] = lambda **changed: self._open(
            target, model_name, **{**settings, **changed}
        )
        self._client = self._connect()
        self._others: dict[int | str, AskedModel] = {}
        self._lock = Lock()
        self._closed = False
        self._shadows = ThreadPoolExecutor(_SHADOWS, thread_name_prefix="shadow")

    def _open(self, target: str, model_name: str, **settings: Any) -> AskedModel:
        """What is asked."""
        return Client(target, model_name, **settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections. Closing them again does nothing; asking is refused then."""
        self._closed = True
        self._shadows.shutdown()
        for client in (self._client, *self._others.values()):
            client.close()

    @checks_arguments
    def rank(
        self,
        user: Row,
        items: Sequence[Row],
        domain: str | None = AUTO,
        *,
        shadow_domain: str | None = None,
        shadow_version: int | str | None = None,
    ) -> Ranking:
        """Scores of one user's candidates, all of one version, and their order.

        Args:
          user: raw user and context features, which the items share.
          items: raw item features of each candidate.
          domain: the domain that serves them, unless ``user`` has a ``domain`` of its own; None
            where it has.
          shadow_domain: score them under this domain too. In the same request, which then holds
            every row twice, so that the same version answers both; with ``shadow_version``, in that
            version's request.
          shadow_version: let this version (number or label) score them too, in a second request
            that is sent at the same time. The call returns when both are answered; a shadow that
            fails is told in ``shadow_error`` and fails nothing else.

        Raises:
          InputError: a row that does not fit the signature, or a model without the output to rank
            by.
          StatusError: the server refused the request or was not reached.
        """
        self._check_open()
        check_rows([user], lambda _: "what the items share")
        check_rows(items, "item {}".format)
        if not items:
            return Ranking([], [], [], None)
        other = user if shadow_domain is None else {**user, DOMAIN: shadow_domain}
        if shadow_version is not None:
            return self._beside_version(user, other, items, domain, shadow_version)
        if shadow_domain is None:
            return self._ranking(self._ask(self._client, user, items, domain))
        both = self._client.ask([*_rows(user, items), *_rows(other, items)], domain)
        served, shadow = (
            self._ranking(Reply(half, both.version))
            for half in (both.rows[: len(items)], both.rows[len(items) :])
        )
        return replace(served, shadow=shadow)

    @checks_arguments
    def score(
        self,
        rows: Sequence[Row],
        domain: str | None = AUTO,
        *,
        signature: str = DEFAULT_SIGNATURE,
        ignore_unknown: bool = False,
    ) -> Answers:
        """Every output for each row, in their order.

        Args:
          rows: raw features by name; what is left out is missing.
          domain: of the rows that name none of their own; None where all do.
          signature: signature to run.
          ignore_unknown: skip keys that the signature does not take, such as labels of a log.

        Raises:
          InputError, StatusError: as ``rank``.
        """
        self._check_open()
        return self._client.predict(rows, domain, signature, ignore_unknown=ignore_unknown)

    def _check_open(self) -> None:
        if self._closed:
            raise InputError("this ranker is closed; make another one")

    def _beside_version(
        self, user: Row, other: Row, items: Sequence[Row], domain: str | None, version: int | str
    ) -> Ranking:
        with self._lock:
            if version not in self._others:
                self._others[version] = self._connect(version=version)
            client = self._others[version]
        pending = self._shadows.submit(
            lambda: self._ranking(self._ask(client, other, items, domain))
        )
        served = self._ranking(self._ask(self._client, user, items, domain))
        try:
            return replace(served, shadow=pending.result())
        except (StatusError, InputError) as error:
            return replace(served, shadow_error=error)

    def _ask(
        self, client: AskedModel, user: Row, items: Sequence[Row], domain: str | None
    ) -> Reply:
        signature = self._signature or (
            RANK_SIGNATURE if client.has(RANK_SIGNATURE) else DEFAULT_SIGNATURE
        )
        if signature == RANK_SIGNATURE:
            return client.ask_rank(user, items, domain)
        return client.ask(_rows(user, items), domain)

    def _ranking(self, reply: Reply) -> Ranking:
        scores = [_score(row, self._by) for row in reply.rows]
        order = sorted(range(len(scores)), key=lambda index: -scores[index])
        return Ranking(reply.rows, scores, order, reply.version)


def _rows(user: Row, items: Sequence[Row]) -> list[dict[str, object]]:
    return [{**user, **item} for item in items]


def _score(row: Mapping[str, Any], by: str) -> float:
    score = row.get(by)
    if not isinstance(score, float):
        raise InputError(
            f"the model gives no score {by!r}; its outputs are {', '.join(sorted(row))}; name one"
            " of them with by="
        )
    return score
