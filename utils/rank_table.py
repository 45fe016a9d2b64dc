"""HCCL rank tables: which Ascend has which rank (versions 1.0 and 1.2). All their leaves are strings.

    {"version": "1.0", "server_count": "1", "status": "completed",
     "server_list": [{"server_id": "10.0.0.1", "host_nic_ip": "reserve",
                      "device": [{"device_id": "0", "device_ip": "192.168.100.100", "rank_id": "0"}]}]}
"""
import ipaddress
import json
from pathlib import Path
from typing import NamedTuple

from utils.errors import UserError

VERSIONS = ("1.0", "1.2")
GROUPS = (1, 2, 4, 8)       # Ascends of a server that can train together
HALF = 4                    # that share one half of a board


class Process(NamedTuple):
    """One of the processes that train together."""

    server: int      # index in the table
    device_id: int   # physical, on its server
    rank: int        # of all


def read_rank_table(path):
    """The Processes of the table at `path`, by rank. UserError with all that is wrong with it."""
    return sorted((Process(number, int(device["device_id"]), int(device["rank_id"]))
                   for number, server in enumerate(load(path)["server_list"]) for device in server["device"]),
                  key=lambda one: one.rank)


def load(path):
    """The table at `path` as JSON. UserError with all that is wrong with it."""
    try:
        table = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; python utils/hccl_tools.py writes a rank table") from None
    except ValueError as error:
        raise UserError(f"{path}: not JSON ({error}); python utils/hccl_tools.py writes a rank table") from None
    if found := violations(table):
        raise UserError(f"{path}: no valid rank table: {'; '.join(found)}; python utils/hccl_tools.py writes one")
    return table


def violations(table):
    """What is wrong with a table: one text each, with its place, what was found and what is expected."""
    if not isinstance(table, dict):
        return [f"found {type(table).__name__}, expected an object with server_list"]
    found = [f"{key}: missing" for key in ("version", "server_count", "server_list", "status") if key not in table]
    if table.get("version", "1.0") not in VERSIONS:
        found.append(f"version: found {table['version']!r}, expected one of {', '.join(VERSIONS)}")
    if table.get("status", "completed") != "completed":
        found.append(f"status: found {table['status']!r}, expected 'completed'; whatever writes the table is not done")
    servers = table.get("server_list", [])
    if not isinstance(servers, list) or not all(isinstance(one, dict) for one in servers):
        return [*found, "server_list: expected a list of objects"]
    if "server_count" in table and table["server_count"] != str(len(servers)):
        found.append(f"server_count: found {table['server_count']!r}, expected '{len(servers)}', the servers listed")
    found += _servers(servers)
    return found if found else _ranks(servers)


def _servers(servers):
    """Violations within each server."""
    found, addresses, places = ([] if servers else ["server_list: no server"]), {}, {}
    for number, server in enumerate(servers):
        place, name = f"server_list[{number}]", server.get("server_id")
        if not isinstance(name, str) or not name:
            found.append(f"{place}.server_id: found {name!r}, expected the server's address")
        elif places.setdefault(name, place) != place:
            found.append(f"{place}.server_id: {name} is {places[name]}'s too")
        devices = server.get("device")
        if not isinstance(devices, list) or not devices or not all(isinstance(one, dict) for one in devices):
            found.append(f"{place}.device: expected a list of one object a device")
            continue
        for index, device in enumerate(devices):
            found += _device(f"{place}.device[{index}]", device, addresses)
        found += _group(place, [device.get("device_id") for device in devices])
    return found


def _device(place, device, addresses):
    """Violations of a device on its own; `addresses` {device_ip: place} of those before it."""
    found = []
    for key in ("device_id", "rank_id"):
        value = device.get(key)
        if not isinstance(value, str) or not (value.isascii() and value.isdigit()):
            found.append(f"{place}.{key}: found {value!r}, expected a number in quotes")
    address = device.get("device_ip")
    try:
        ipaddress.ip_address(address if isinstance(address, str) else "")
    except ValueError:
        return [*found, f"{place}.device_ip: found {address!r}, expected an IP address, see /etc/hccn.conf"]
    if address in addresses:
        found.append(f"{place}.device_ip: {address} is {addresses[address]}'s too")
    addresses.setdefault(address, place)
    return found


def _group(place, ids):
    """Violations of the set of devices of a server."""
    if not all(isinstance(one, str) and one.isdigit() for one in ids):
        return []       # told already
    found = [f"{place}.device: device_id {one} twice" for one in sorted(set(ids)) if ids.count(one) > 1]
    return found or [f"{place}.device: {reason}" for reason in group_violations([int(one) for one in ids])]


def group_violations(ids):
    """What keeps the devices `ids` of one server from training together."""
    if len(ids) not in GROUPS:
        return [f"{len(ids)} devices, expected {', '.join(map(str, GROUPS))}"]
    if max(ids) >= 2 * HALF:
        return [f"device {max(ids)}, expected 0 to {2 * HALF - 1}"]
    if len(ids) <= HALF and min(ids) < HALF <= max(ids):
        return [f"devices {', '.join(map(str, sorted(ids)))}, expected all of 0 to {HALF - 1} or all of {HALF} to "
                f"{2 * HALF - 1}"]
    return []


def _ranks(servers):
    """Violations of the ranks over all servers."""
    ranks = [[int(device["rank_id"]) for device in server["device"]] for server in servers]
    every = sorted(rank for own in ranks for rank in own)
    if every != list(range(len(every))):
        return [f"rank_id: found {', '.join(map(str, every))}, expected each of 0 to {len(every) - 1} once"]
    order = sorted(range(len(servers)), key=lambda number: servers[number]["server_id"])
    if order != sorted(range(len(servers)), key=lambda number: min(ranks[number])):
        return ["server_id: the servers' ranks are not in the order of their ids as text, which HCCL expects; "
                "renumber the ranks (--merge does)"]
    return []
