"""What is hidden of a text, whatever the password: the rest of the text stays."""

import json
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
import sqlalchemy as sa
from hypothesis import example, given
from hypothesis import strategies as st
from store_kit import opened, proposal, ready_file, trials

from nas.credentials import hidden
from nas.errors import UserError
from nas.store import engine, jobs
from nas.study.options import read

PASSWORDS = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1)
UNBROKEN = PASSWORDS.filter(lambda text: not any(one.isspace() for one in text))
NASTY = ("p@ss", "a/b:c@d", "?password=x&y", "x://u:v@w", "***", "\"'\\", "ä ö+%40", "@", "&token=")


@given(UNBROKEN)
@example("a/b:c@d")
@example("x?password=y&z@h")
@example("x://u:v@w")
def test_a_password_before_a_host_leaves_no_trace(password: str) -> None:
    """Encoded or raw, with @ and / in it, in one URL of several: the text is always the same."""
    for written in (password, quote(password, safe=""), quote_plus(password)):
        text = f"from a://u:{written}@h/db to https://host:80/a, b+c://v:{written}@h2:5/x."
        shown = "from a://u:***@h/db to https://host:80/a, b+c://v:***@h2:5/x."
        assert hidden(text) == shown


@given(PASSWORDS)
@example("a:b@c")
@example("'a' 'b'")
def test_a_password_in_an_option_leaves_no_trace(password: str) -> None:
    """SQLAlchemy and libpq take one in the query, and libpq as a word of its own."""
    for name in ("password", "sslpassword", "oauth_client_secret", "TOKEN", "sig", "X-Sig", "pwd"):
        for written in (quote(password, safe=""), quote_plus(password)):
            text = f"a://u@h/db?host=h&{name}={written}&connect_timeout=3 end"
            assert hidden(text) == f"a://u@h/db?host=h&{name}=***&connect_timeout=3 end"
    escaped = password.replace("\\", "\\\\").replace("'", "\\'")
    assert hidden(f"host=h password = '{escaped}' dbname=d") == "host=h password = *** dbname=d"


@given(PASSWORDS)
@example("a/b c@d")
def test_a_known_secret_is_found_in_any_spelling(password: str) -> None:
    """As it is meant, percent-encoded as some do and others, in JSON, in a repr."""
    url = sa.URL.create("postgresql+psycopg", "u", password, "h", database="d")
    written = url.render_as_string(hide_password=False)
    lower = "".join(f"%{byte:02x}" for byte in password.encode())
    for one in (
        password, quote(password), quote(password, safe=""), quote_plus(password), lower,
        json.dumps(password)[1:-1], repr(password)[1:-1],
        written.removeprefix("postgresql+psycopg://u:").removesuffix("@h/d"),
    ):  # fmt: skip
        assert hidden(one, [password]) == "***"
    assert hidden("nothing 0", ["", "\N{SNOWMAN}"]) == "nothing 0"
    assert engine.secrets(engine.parse(written)) == [password]


@given(st.text())
def test_hiding_again_changes_nothing(text: str) -> None:
    """What passes several who hide is the same as what passes one; what has no URL is kept."""
    once = hidden(text)
    assert hidden(once) == once


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://nas@db:5432/nas", "https://host:80/a?page=2", "a@b, c:d@e", "sqlite:///a.db",
        "KeyError: 'key=3'", "password authentication failed for user \"nas\"", "[::1]:80", "",
    ],
)  # fmt: skip
def test_what_is_no_credential_stays(text: str) -> None:
    """Users, ports, options without secrets and words about passwords are shown."""
    assert hidden(text) == text


@pytest.mark.parametrize("password", NASTY)
def test_a_reason_is_stored_without_credentials(password: str, tmp_path: Path) -> None:
    """Neither our row nor the attribute that Optuna's dashboard shows has it; nor has a job's."""
    text = f"OSError: s3://me:{quote(password, safe='')}@bucket is away"
    shown = "OSError: s3://me:***@bucket is away"
    with opened(ready_file(tmp_path)) as store:
        mine = trials(store)
        lease = mine.start(proposal()).lease
        assert lease is not None
        mine.finish(lease, "failed", reason=text)
        attributes = mine.optuna_study().trials[0].user_attrs
        with store.write() as connection:
            jobs.add(connection, "j", "http://head:8265", ["search"])
            jobs.set_state(connection, "j", "failed", text)
            job = jobs.jobs(connection)[0]
            row = connection.execute(sa.text("SELECT reason FROM nas_evaluations")).scalar_one()
    assert (row, attributes["reason"], job.message) == (shown, shown, shown)


def test_a_workers_log_has_no_credentials() -> None:
    """Its records lose them, and so do tracebacks, that of its own end too."""
    code = """
import logging, sys
from nas.study import worker as study
def run(*_):
    logging.getLogger("nas").warning("can't read %s", "a://u:hu/sh@h/db")
    try:
        raise OSError("b://u@h/db?password=hu/sh")
    except OSError:
        logging.getLogger("another").exception("oh")
    raise ValueError("c://u:hu/sh@h/db")
study.run = run
study.main()
"""
    ended = subprocess.run(
        [sys.executable, "-c", code],
        input='{"driver": 0}',
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "hu/sh" not in ended.stderr
    assert "can't read a://u:***@h/db" in ended.stderr
    assert "OSError: b://u@h/db?password=***" in ended.stderr
    assert ended.stderr.splitlines()[-1] == "ValueError: c://u:***@h/db"
    assert ended.returncode == 1


SECRETS = ["key", "api_key", "AUTH", "pwd", "jwt", "sig", "X-Amz-Signature", "bearer", "sas"]


def encoded(text: str, times: int) -> str:
    """Return a text with every letter percent-encoded, several times over."""
    coded = "".join(f"%{byte:02x}" for byte in text.encode()) if times else text
    return coded.replace("%", "%25") if times > 1 else coded


@pytest.mark.parametrize("times", [0, 1, 2])
@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_option_is_refused_and_hidden_in_any_encoding(name: str, times: int) -> None:
    """Its name, the ? before it and the = after it may be percent-encoded, once or twice."""
    for option in (
        f"?{encoded(name, times)}=",
        encoded(f"?{name}=", times),
        f"&{name[:-1]}%{ord(name[-1]):02X}=",
    ):
        url = f"https://h/x.npz?page=2{option}hush"
        assert hidden(f"at {url}&a=b end") == f"at https://h/x.npz?page=2{option}***&a=b end"
        for read_as in ("data", "checkpoints"):
            with pytest.raises(UserError, match="no token") as refused:
                read({read_as: url})
            assert "hush" not in str(refused.value)
    harmless = "https://h/x.npz?keyword=a&author=b&design=c&id=d&download=1"
    assert hidden(harmless) == harmless
    assert read({"data": harmless}).data == harmless


def test_a_password_for_checkpoints_is_refused() -> None:
    """The URL stands in the study's configuration, which the store and the dashboard show."""
    for url in ("sftp://me:hush@host/folder", "s3://key:se/cret@bucket", "http://h/a?token=hush"):
        with pytest.raises(UserError, match="no user, no password") as refused:
            read({"checkpoints": url})
        assert "hush" not in str(refused.value)
    read({"checkpoints": "memory://folder"})
