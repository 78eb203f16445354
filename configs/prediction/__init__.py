"""What is predicted, and how a page is ranked from it."""
