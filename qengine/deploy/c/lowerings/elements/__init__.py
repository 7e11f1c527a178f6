"""Arithmetic element by element, joins and conversions in C."""
