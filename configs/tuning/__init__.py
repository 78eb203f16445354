"""What ``trainer.task tune`` may try."""
