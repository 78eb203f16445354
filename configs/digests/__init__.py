"""The one place that says "these files are what was written": sha256 of files and of JSON, sums of
records.
"""
