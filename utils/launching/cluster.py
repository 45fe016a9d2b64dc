"""MindSpore's dynamic cluster: the address at which its scheduler joins the processes that train together."""
import errno
import os
import socket
from typing import NamedTuple

from utils.errors import MismatchError, NotFoundError, RunError
from utils.ranges import Range, environment

LOOPBACK, PORT = "127.0.0.1", 8118      # msrun's, too


class Scheduler(NamedTuple):
    """Where MindSpore's scheduler listens, and whether that is this server."""

    host: str
    port: int
    here: bool = True


def local_scheduler() -> Scheduler:
    """One for processes that all run here."""
    return Scheduler(scheduler_host(LOOPBACK), chosen_port() or free_port())


def scheduler_host(name: str) -> str:
    """The IP address of MS_SCHED_HOST, else of the host `name`."""
    name = os.environ.get("MS_SCHED_HOST") or name
    try:
        *_, address = min(socket.getaddrinfo(name, None, type=socket.SOCK_STREAM))     # IPv4 before IPv6
    except OSError as error:
        raise NotFoundError(f"server 0 of the table: {name!r} has no address ({error.strerror}); write its host_ip "
                            "into the table or set MS_SCHED_HOST, on all servers") from None
    return str(address[0])


def chosen_port() -> int | None:
    """MS_SCHED_PORT, None where it is not set."""
    return environment("MS_SCHED_PORT", Range(1024, 65535))


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as listener:
        listener.bind((LOOPBACK, 0))
        return listener.getsockname()[1]


def check_free(host: str, port: int) -> None:
    """UserError where a scheduler cannot listen at `host` and `port`."""
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise RunError(f"MS_SCHED_PORT: {port} is taken at {host}, by another training?; set a free one, the same "
                           "on all servers") from None
        raise MismatchError(f"MS_SCHED_HOST: {host} is no address of this server ({error.strerror}), where the "
                            "scheduler must run; see SERVER_ID and server 0 of the table") from None


def listens(host: str, port: int) -> bool:
    """Whether somebody listens at `host` and `port`."""
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False
