"""Shows results to people: text for a terminal, plots, one HTML page."""
