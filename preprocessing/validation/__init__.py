"""Raw values in canonical form, and the rules that a row must keep."""
