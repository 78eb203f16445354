"""What runs every day: above all other packages, which it calls as their commands do."""
