"""A search is checked and prepared before its study is made."""
