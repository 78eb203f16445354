"""The files of ``deploy/``."""
