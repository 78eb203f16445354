"""Holds the kinds of features: a file for each, and the registry that binds them to
their settings.
"""
