"""Types that keep what is written whole on every kind of database.

MariaDB's own TEXT ends after 64 kB and its DATETIME after the seconds.
"""

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

TEXT = sa.Text().with_variant(mysql.LONGTEXT(), "mariadb")
TIME = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mariadb")
