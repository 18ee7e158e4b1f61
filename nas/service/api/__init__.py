"""The HTTP API: a file for each idea; its routes call the verbs and compute nothing themselves."""
