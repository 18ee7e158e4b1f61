"""A study runs here: preparation, proposals, the worker's loop, the driver, the winner."""
