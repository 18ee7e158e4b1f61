"""Alembic migrations of the `nas_` tables, oldest first."""
