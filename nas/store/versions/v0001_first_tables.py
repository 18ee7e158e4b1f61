"""The first tables. A new store is made at the newest revision: nothing leads to this one."""

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    raise NotImplementedError("A new store is made by nas.store.migrate.")
