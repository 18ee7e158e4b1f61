"""The modules of networks, an idea a file: the source that an exported file is made of.

They import torch and each other, nothing else.
"""
