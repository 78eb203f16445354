"""Describes the dataset on disk: manifest, record format, files, golden requests."""
