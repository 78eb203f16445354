"""Tables and plots of README and docs, written in place from what the studies leave."""
