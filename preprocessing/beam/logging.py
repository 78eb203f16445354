"""Silences what Beam, TensorFlow and Python say on their own."""

import logging
import warnings


def keep_quiet() -> None:
    """Errors come to the command as exceptions; logging them as well would print each several
    times, with traces.
    """
    logging.basicConfig(level=logging.WARNING)
    logging.getLogger("apache_beam").setLevel(logging.WARNING)
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # which calls it means to rename
    for name in (
        "apache_beam.runners.common",
        "apache_beam.runners.worker",
        "apache_beam.runners.portability",
    ):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def keep_quiet_about_forks() -> None:
    """From 3.12 on Python warns of a fork where there are other threads, since what these hold
    would stay locked. Those of the process that forks are OpenBLAS's and Arrow's allocator's, which
    know of forks; nothing of Python's own runs beside it.
    """
    warnings.filterwarnings("ignore", r".*use of fork\(\)", DeprecationWarning)
