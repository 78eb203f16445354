"""Several requests run as one, and one of many rows in parts."""
