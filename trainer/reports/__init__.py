"""Results for people: text for a terminal, plots, one HTML page."""
