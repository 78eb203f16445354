"""Digest of this code, whether two processes run the same; what its modules are called; and how
what it needs is installed.
"""

import hashlib
from functools import cache
from pathlib import Path

ABOVE = __name__.rpartition("configs")[0]
"""What a release has put before the names of our modules: ``name.``; nothing in a checkout."""
OF_THE_CHECKOUT = "code.sha256"
"""Beside this file in a release, whose modules are called by other names: the digest of the
checkout that it was made from.
"""
_PACKAGES = ("configs", "preprocessing", "trainer", "serving")


OF_MAKE = ("train", "serve", "dev", "bench", "tune", "docs")
"""Extras that ``make install`` installs."""


def install_words(extra: str) -> str:
    """What a user runs to get what an extra of ours names, in a checkout or beside a release."""
    if ABOVE:
        return f"pip install 'domain-kernel-recommender[{extra}]'"
    return ("make install, or " if extra in OF_MAKE else "") + f"pip install '.[{extra}]'"


@cache
def code_digest() -> str:
    """Sha256 over every module of ours; that of a release is its checkout's, so that either goes on
    with what the other has written.
    """
    kept = Path(__file__).with_name(OF_THE_CHECKOUT)
    return (
        kept.read_text(encoding="utf-8").strip()
        if kept.is_file()
        else digest_below(Path(__file__).parents[2])
    )


def digest_below(root: Path) -> str:
    """The digest of the code in a checkout.

    Args:
      root: its folder.
    """
    digest = hashlib.sha256()
    for path in sorted(path for package in _PACKAGES for path in (root / package).rglob("*.py")):
        digest.update(
            f"{path.relative_to(root)}\n".encode() + hashlib.sha256(path.read_bytes()).digest()
        )
    return digest.hexdigest()


def checkout_name(module: str) -> str:
    """What a module is called in a checkout, which is what digests are taken of. Names of others
    are left as they are.
    """
    return module.removeprefix(ABOVE)
