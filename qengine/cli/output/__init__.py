"""What each command prints, as tables for people and as JSON for programs."""
