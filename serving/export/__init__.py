"""A job directory -> one version of a SavedModel: ``python -m serving.export``."""
