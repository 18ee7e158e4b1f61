"""The modules of networks, an idea a file: the source that an exported file is made of.

They import torch, the standard library and each other.
"""
