"""Targets: the rules and constraints of devices, bundled and from files of a user.

`constraints` declares what a device allows, `toml` reads files of targets, `target` has `Target`.
"""
