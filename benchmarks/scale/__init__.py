"""Stores of 100,000 trials, and what is asked of them while a search goes on."""
