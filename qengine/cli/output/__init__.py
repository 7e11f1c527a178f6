"""Output of each command: tables as text, and JSON."""
