"""Evaluators, one family a file.

Importing the package imports none of them: `qengine.model.eager.evaluator.versions` imports every file in it, and so
declares every evaluator.
"""
