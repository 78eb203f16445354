"""Brings raw values into canonical form, and checks the rules that a row must keep."""
