"""Softmax, normalizations and attention in C."""
