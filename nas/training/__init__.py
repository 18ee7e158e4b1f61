"""Recipes, their registries, and the trainer.

A file each has the augmentations, metrics, optimisers, schedules and losses; `nas.training.recipe`
has a recipe that names them. None of these imports torch. `nas.training.trainer` has `train` and
`evaluate`, `nas.training.images` has `normalisation`.
"""
