"""Names of domains as values of labels: as many as a model has, whatever peers ask for."""

from collections.abc import Iterable

from configs.domain_names import ALL, AUTO, BACKBONE, sorted_conditions
from serving.server.version_facts import VersionFacts

UNKNOWN = "(unknown)"
"""Stands for every name that is no domain of the model: such a request is routed as ``auto``."""
OTHER = "(other)"
"""Stands for domains beyond the first ``MOST``."""

MOST = 2_048
_LONGEST = 255


class DomainLabels:
    """The labels of a server. A domain that is asked for is known where the files of a served
    version name it, or where it has answered a row: what answers is the graph's choice.
    """

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self._spelled: dict[frozenset[str], dict[str, str]] = {}

    def served(self, name: bytes) -> str:
        """A domain that has answered."""
        text = name.decode(errors="replace")
        return self._kept(text) if len(text) <= _LONGEST else OTHER

    def asked(self, name: bytes, facts: Iterable[VersionFacts]) -> str:
        """A domain that was asked for.

        Args:
          name: as the peer wrote it; its topics may be in any order, and none is ``auto``.
          facts: of the served versions of the model.
        """
        text = name.decode(errors="replace") or AUTO
        if text in self._seen or text in (ALL, AUTO, BACKBONE):
            return self._kept(text)
        if len(text) <= _LONGEST:
            for fact in facts:
                if known := self._spellings(fact.domains or frozenset()).get(
                    sorted_conditions(text)
                ):
                    return self._kept(known)
        return UNKNOWN

    def _spellings(self, domains: frozenset[str]) -> dict[str, str]:
        """Name with its topics in alphabetical order -> the domain."""
        if domains not in self._spelled:
            self._spelled = {domains: {sorted_conditions(name): name for name in domains}}
        return self._spelled[domains]

    def _kept(self, text: str) -> str:
        if text not in self._seen:
            if len(self._seen) >= MOST:
                return OTHER
            self._seen.add(text)
        return text
