"""Output of each command: tables for people, and JSON for programs."""
