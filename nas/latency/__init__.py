"""Latency: measured on this machine, and predicted from a table of measured blocks."""
