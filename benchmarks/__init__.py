"""What is measured: every figure of the README that no other command prints."""
