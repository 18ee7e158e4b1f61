"""Alembic migrations of the `nas_` tables, oldest first.

On MariaDB each statement that changes tables commits by itself: what a crash has interrupted is
run again, so every step passes over what is there (`if_not_exists`).
"""
