"""Logs -> datasets, by Apache Beam; and the one feature transform."""
