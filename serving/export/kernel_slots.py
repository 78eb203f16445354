"""Lays kernels into slots and builds the domain table: all of an exported version that a new kernel
changes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from configs import Experiment, InputError
from configs.domain_names import spellings
from configs.domains import BACKBONE, Domain
from configs.tensorflow_import import tf
from trainer.kernels.bank import KernelBank
from trainer.kernels.composed_bank import ComposedBank
from trainer.kernels.fallback import answering_domain
from trainer.kernels.kernel import KernelShape
from trainer.kernels.routing import most_specific_first, parts_of
from trainer.memory.counts import Counts
from trainer.memory.lookup import MemoryTables
from trainer.registry.kernel_registry import StoredKernel

_FEWEST = 16
_HEAD_ROOM = 1.25


class Slots:
    """What is held in variables, so that the graph knows no kernel.

    Attributes:
      domains: every domain that the graph can name, most specific first.
      names: of what can serve a row: the backbone, then ``domains``; a domain's place in it is its
        rank.
      bank: kernels by slot; slot 0 is the backbone alone.
      slot_of: int32 ``[1 + len(domains)]``: the slot of the domain of a rank; 0 where it has no
        kernel. ``auto`` goes by it.
      answer_of: int32 ``[1 + len(domains)]``: the slot that answers a row which names the domain of
        a rank: its own, or that of the nearest domain above it that has one
        (``fallback.answering_domain``).
      rank_of: int32 ``[slots]``: the rank of the domain in a slot; 0 where the slot is not used.
        Slots are used from 0 on.
      memory: what kernels read beside the tap; None where they read nothing.
    """

    def __init__(
        self,
        domains: list[Domain],
        shape: KernelShape,
        slots: int,
        kernels: Sequence[StoredKernel],
        counts: Counts | None = None,
        compose: float | None = None,
    ) -> None:
        """Fills the slots.

        Args:
          domains: every domain that the graph is to know; each kernel's is among them.
          shape: of every kernel.
          slots: at least one more than kernels.
          kernels: what is served.
          counts: what they remember, where they do.
          compose: share of the changes that kernels add up; None where each answers alone.
        """
        memory = shape.remembers
        self.memory = MemoryTables(memory, counts) if memory and counts else None
        self.domains, self.names = domains, [BACKBONE, *(domain.name for domain in domains)]
        self.bank = (
            KernelBank(slots, shape)
            if compose is None
            else ComposedBank(slots, shape, compose, parts_of(domains))
        )
        ranks = {name: rank for rank, name in enumerate(self.names)}
        slot_of, rank_of = np.zeros(len(self.names), np.int32), np.zeros(slots, np.int32)
        gains = {kernel.domain: kernel.measured_gain for kernel in kernels}
        for slot, kernel in enumerate(sorted(kernels, key=lambda kernel: ranks[kernel.domain]), 1):
            self.bank.put(slot, kernel.weights)
            slot_of[ranks[kernel.domain]], rank_of[slot] = slot, ranks[kernel.domain]
        answers = (answering_domain(domain, gains) for domain in domains)
        answer_of = slot_of[[0, *(ranks[name] for name in answers)]]
        self.slot_of, self.answer_of, self.rank_of = (
            tf.Variable(array, trainable=False) for array in (slot_of, answer_of, rank_of)
        )

    def ranks(self) -> dict[str, int]:
        """Every name by which a domain or the backbone may be asked for -> its rank."""
        return {BACKBONE: 0} | {
            spelling: rank
            for rank, domain in enumerate(self.domains, 1)
            for spelling in spellings(domain.name)
        }

    def variables(self) -> dict[str, tf.Variable]:
        """By name."""
        return {
            **{weight.name: weight.value for weight in self.bank.weights},
            "slot_of": self.slot_of,
            "answer_of": self.answer_of,
            "rank_of": self.rank_of,
            **(self.memory.variables() if self.memory else {}),
        }

    def used(self) -> tf.Tensor:
        """Number of slots in use, the backbone's included."""
        return 1 + tf.math.count_nonzero(self.rank_of, dtype=tf.int32)

    def served(self) -> dict[str, int]:
        """Domain -> slot, in the order of the slots."""
        ranks = self.rank_of.numpy()
        return {self.names[ranks[slot]]: slot for slot in range(1, int(self.used()))}


@dataclass(frozen=True)
class Layout:
    """What a graph is built for, whatever kernels it serves later.

    Attributes:
      shape: of every kernel.
      slots: that the bank has.
      others: names of the domains that the graph knows beside those that the experiment crosses.
    """

    shape: KernelShape
    slots: int
    others: tuple[str, ...] = ()

    def domains(self, experiment: Experiment) -> list[Domain]:
        """Every domain that the graph knows, most specific first."""
        return most_specific_first(
            [*experiment.domains, *(Domain.parse(name, experiment.topics) for name in self.others)],
            experiment.topics,
        )

    def refuses(
        self,
        experiment: Experiment,
        kernels: Sequence[StoredKernel],
        others: Iterable[str],
        slots: int | None,
    ) -> str:
        """Why a graph of this layout cannot serve such kernels, and know such other domains, from
        so many slots (None: any number); empty where it can.
        """
        if common_shape(kernels) not in (None, self.shape):
            return "has kernels of another shape"
        if len(kernels) >= self.slots or slots not in (None, self.slots):
            return f"has {self.slots} slots"
        asked = domains_outside_config(
            experiment, (*(kernel.domain for kernel in kernels), *others)
        )
        if unknown := asked - set(self.others):
            return f"does not know the domain '{min(unknown)}'"
        if gone := set(self.others) - asked:  # what a full export would route as `auto`
            return f"knows the domain '{min(gone)}', which the job no longer does"
        return ""


def domains_outside_config(experiment: Experiment, stored: Iterable[str]) -> set[str]:
    """Which of the domains that have kernels are none of the experiment's: a kernel may have been
    tuned by a config that crosses other topics.
    """
    return set(stored) - {domain.name for domain in experiment.domains}


def head_room(kernels: int) -> int:
    """Slots for a number of kernels: the next power of two of a quarter more than they and the
    backbone need, at least 16.
    """
    return max(_FEWEST, 1 << (int(np.ceil(_HEAD_ROOM * (kernels + 1))) - 1).bit_length())


def common_shape(kernels: Sequence[StoredKernel]) -> KernelShape | None:
    """The shape of all kernels; None where there is none. Raises ``InputError`` where they have
    different ones.
    """
    shapes = {kernel.shape for kernel in kernels}
    if len(shapes) > 1:
        one = {kernel.shape: kernel.domain for kernel in reversed(kernels)}
        described = "; ".join(f"'{domain}' has {shape.words}" for shape, domain in one.items())
        raise InputError(
            f"active kernels of different shapes cannot be exported together: {described}; tune all"
            " domains by one config, or deactivate those of one shape (trainer.task kernels)"
        )
    return next(iter(shapes), None)
