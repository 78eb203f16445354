"""Finds log files and their columns, and reads their rows as Arrow batches."""
