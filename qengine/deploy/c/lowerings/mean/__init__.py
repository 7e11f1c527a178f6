"""Means and sums over windows and axes in C."""
