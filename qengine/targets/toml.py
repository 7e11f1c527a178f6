"""Targets as TOML: every key, type and default, and the line of what is wrong."""
