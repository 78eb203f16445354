"""Random numbers of an experiment: one independent stream for each purpose.

A stream is ``numpy.random.SeedSequence(seed, spawn_key=(family, purpose, *path))`` (NumPy's
documentation, "Parallel random number generation"): what is drawn for one purpose, domain or epoch
says nothing about what is drawn for another, and nobody's draws change when somebody else draws
more. The numbers of ``Purpose``, the family and the encoding of the path are part of what makes a
run repeatable: none of them may ever change.
"""

import hashlib
from enum import IntEnum, unique

import numpy as np

STREAMS = 1
"""Version of the numbers below, for what is kept on disk and gone on with; larger where a change of
this module gives other draws.
"""

_FAMILY = 0x72656373  # "recs": keeps these apart from whatever else spawns from the same seed
_WORD = 1 << 32
_NAME_WORDS = 4
_SEED_BITS = 30


@unique
class Purpose(IntEnum):
    """What random numbers are drawn for, and by what path beside the seed.

    A number stands for its purpose for ever: add new ones at the end, never renumber or reuse.
    """

    FRAMEWORK = 1
    """What TensorFlow and Keras draw without a seed of their own."""
    BACKBONE_LAYERS = 2
    """Initial weights, dropout of ids and of layers."""
    FILE_ORDER = 3
    """Order of a split's files; by epoch."""
    BLOCK_ORDER = 4
    """Order of blocks of rows; by epoch."""
    ROW_ORDER = 5
    """Order of the rows of a buffer; by epoch."""
    WINDOW_ORDER = 6
    """Order of rows where a backbone goes through the window; by part."""
    KERNEL_WEIGHTS = 7
    """Initial weights of a kernel or another adapter; by domain."""
    KERNEL_ORDER = 8
    """Order of a domain's rows in training; by domain and epoch."""
    KERNEL_NOISE = 9
    """Draws of the variational reading; by domain."""
    MIXED_ROWS = 10
    """Rows of other domains in a domain's training; by domain."""
    GRADIENT_ROWS = 11
    """Rows from which a domain's gradient is taken."""
    BOOTSTRAP = 12
    """Resampled users; by draw."""
    CODE_NOISE = 13
    """Noise on the codes whose information is measured."""
    BENCHMARK_USERS = 14
    """Users of a part of the window."""
    BENCHMARK_ROWS = 15
    """Rows of a part of a split."""
    EXPLAINED_ROWS = 16
    """Users, or requests, of the rows on which a model is explained."""
    PERMUTED_INPUT = 17
    """Order of an input's values where it is permuted; by input and permutation."""
    TRIED_SETTINGS = 18
    """Settings that a trial of ``trainer.task tune`` is trained with; by trial and attempt."""


def random_stream(seed: int, purpose: Purpose, *path: int | str) -> np.random.Generator:
    """The generator of one purpose: the same for the same arguments, on every machine.

    Args:
      seed: of the experiment, 0 or more.
      purpose: what is drawn.
      path: what tells streams of one purpose apart: names, or whole numbers from 0 to 2^32 - 1.

    Raises:
      ValueError: a number of the path is out of range.
    """
    return np.random.default_rng(_sequence(seed, purpose, path))


def integer_seed(seed: int, purpose: Purpose, *path: int | str) -> int:
    """A seed for what takes a whole number (Keras, TensorFlow): 30 bits of ``random_stream``'s
    sequence, so that a layer may count on from it without leaving an int32.

    Arguments and errors are those of ``random_stream``.
    """
    (word,) = _sequence(seed, purpose, path).generate_state(1, np.uint32)
    return int(word) >> (32 - _SEED_BITS)


def _sequence(seed: int, purpose: Purpose, path: tuple[int | str, ...]) -> np.random.SeedSequence:
    words = [_FAMILY, int(purpose)]
    for part in path:
        if isinstance(part, str):  # 128 bits: hundreds of names do not meet, as they may in 32
            digest = hashlib.sha256(part.encode()).digest()
            words += np.frombuffer(digest, "<u4", _NAME_WORDS).tolist()
        elif 0 <= part < _WORD:
            words.append(int(part))
        else:
            raise ValueError(f"a part of a stream's path must be from 0 to 2^32 - 1: {part}")
    return np.random.SeedSequence(seed, spawn_key=tuple(words))
