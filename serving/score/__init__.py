"""Scores archives of logged rows by an exported version, as a Beam job."""
