"""Runs the Beam job that turns logs into a finished dataset."""
