"""Settings of what runs every day."""
