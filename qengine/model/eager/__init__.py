"""Evaluation of single nodes: by a registered function, an evaluator or a handler."""
