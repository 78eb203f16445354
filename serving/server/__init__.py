"""The embedded model server: ``python -m serving.server``."""
