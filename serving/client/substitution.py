"""Notices answers that come from another domain's kernel than the one asked for."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from configs.domain_names import AUTO, sorted_conditions
from configs.errors import InputError
from serving.wire.signatures import SERVED_DOMAIN

_log = logging.getLogger("serving.client")


class Substitutions:
    """What became of the domains that one client has asked for.

    Args:
      strict: whether an answer of another domain is an error; otherwise it is a warning of the
        logger ``serving.client``, once for each pair of domains.
    """

    def __init__(self, *, strict: bool = False) -> None:
        self._strict = strict
        self._said: set[tuple[str, str]] = set()

    def check(self, asked: Sequence[str | None], answers: Sequence[Mapping[str, Any]]) -> None:
        """Looks at the answers of one request.

        Args:
          asked: the domain that each row named, ``[N]``; None or empty where it named none.
          answers: every output by name, ``[N]``.

        Raises:
          InputError: with ``strict``, another domain has answered.
        """
        pairs = {
            (name, str(row[SERVED_DOMAIN]))
            for name, row in zip(asked, answers, strict=True)
            if name and name != AUTO and SERVED_DOMAIN in row
        }
        for name, served in sorted(pairs - self._said):
            if sorted_conditions(name) == sorted_conditions(served):
                continue
            message = f"asked for domain '{name}', answered by '{served}'"
            if self._strict:
                raise InputError(
                    f"{message}: it has no active kernel, or no domain has this name; ask for"
                    " 'auto', or leave --strict-domain out"
                )
            self._said.add((name, served))
            _log.warning("%s: it has no active kernel, or no domain has this name", message)
