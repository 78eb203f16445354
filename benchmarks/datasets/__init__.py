"""Logs of the studies, made from the files that their sources publish, and their rules."""
