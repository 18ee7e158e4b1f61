"""Recipes, the trainer and the metrics.

`nas.training.recipe` imports no torch; `nas.training.trainer` has `train`, `evaluate` and
`normalisation`.
"""
