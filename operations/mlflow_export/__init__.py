"""A job, its releases and its refreshes as runs of an MLflow store."""
