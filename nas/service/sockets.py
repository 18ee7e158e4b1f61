"""The address that a server listens at: it is checked before, and its errors are UserErrors."""

import errno
import ipaddress
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from nas.errors import UserError


@contextmanager
def listening(host: str, port: int) -> Iterator[None]:
    """Check a port, and turn the system's errors about the address into a UserError."""
    if not 0 <= port < 2**16:
        raise UserError(f"--port is a number from 0 (any that is free) to 65535, not {port}.")
    try:
        yield
    except socket.gaierror:
        raise UserError(f"--host is an address of this machine, not {host!r}.") from None
    except OSError as error:
        reasons = {
            errno.EADDRINUSE: f"Port {port} of {host} is taken; give another with --port.",
            errno.EACCES: f"Port {port} needs more rights; give one above 1023 with --port.",
            errno.EADDRNOTAVAIL: f"--host is an address of this machine, not {host!r}.",
        }
        reason = f"Can't serve at {host}:{port}: {error.strerror}."
        raise UserError(reasons.get(error.errno or 0, reason)) from None


def is_loopback(host: str) -> bool:
    """Tell whether an address is reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
