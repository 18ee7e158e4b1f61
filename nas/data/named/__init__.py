"""The registry of data sets that have a name: one file each, with `load`, which returns it."""
