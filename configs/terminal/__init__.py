"""What a terminal shows: text, tables and help that fit its width."""
