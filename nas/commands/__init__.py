"""The verbs as plain functions; the command line and the Python API are thin skins over them."""
