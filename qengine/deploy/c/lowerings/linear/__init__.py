"""Sums of products with weights in C."""
