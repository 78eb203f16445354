"""Processes that pre-train one backbone together: who they are, how they meet, what they sum."""
