"""The backbone: built, saved, frozen, fingerprinted, and what its taps give."""
