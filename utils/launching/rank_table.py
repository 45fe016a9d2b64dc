"""HCCL rank tables: which Ascend has which rank (versions 1.0 and 1.2). All their leaves are strings.

    {"version": "1.0", "server_count": "1", "status": "completed",
     "server_list": [{"server_id": "10.0.0.1", "host_nic_ip": "reserve",
                      "device": [{"device_id": "0", "device_ip": "192.168.100.100", "rank_id": "0"}]}]}

A table is valid that some Ascend takes; `demands_of_910a` says what a 910A asks beyond. Where the rules stand, below
www.hiascend.com/document/detail/en:
    CANNCommunityEdition/900/API/hcclug/hcclug_000068.html (910A, "Atlas training"), ..67 (Atlas A2), ..66 (Atlas A3)
        fields; device_ip may be missing, not for a 910A, where no other server (version 1.2: super pod) is reached;
        the ranks of a server are consecutive; the servers of a super pod stand together
    CANNCommunityEdition/900/devaids/hccltool/HCCLpertest_16_0007.html
        devices of a server: 910A 1, 2, 4 or 8; A2 1 to 8, A3 1 to 16
    TensorFlowCommercial/850/migration/tfmigr2/tfmigr2_000029.html
        910A: devices 0 to 3 and 4 to 7 are networks of their own; as many devices on every server
and in www.mindspore.cn/tutorials/en/r2.7.1/parallel/rank_table.html: ranks in the order of the server ids as text.
"""
import ipaddress
import itertools
from pathlib import Path
from typing import Any, NamedTuple

from utils.errors import ContentError
from utils.texts import read_json

Table = dict[str, Any]      # as JSON has it

SERVERS, SUPER_PODS = VERSIONS = ("1.0", "1.2")
LARGEST = 16                # devices of a server, on an Atlas A3
NAME = 64                   # characters of a server_id
GROUPS = (1, 2, 4, 8)       # 910As of a server that can train together
HALF = 4                    # 910As of a network


class Process(NamedTuple):
    """One of the processes that train together."""

    server: int      # index in the table
    device_id: int   # physical, on its server
    rank: int        # of all


def read_rank_table(path: str | Path) -> list[Process]:
    """The Processes of the table at `path`, by rank. UserError with all that is wrong with it."""
    return sorted((Process(number, int(device["device_id"]), int(device["rank_id"]))
                   for number, server in enumerate(load(path)["server_list"]) for device in server["device"]),
                  key=lambda process: process.rank)


def server_name(path: str | Path, number: int) -> str:
    """By what other servers find server `number` of a table: its host_ip, where it has none its server_id."""
    server = load(path)["server_list"][number]
    return server.get("host_ip") or server["server_id"]


def load(path: str | Path) -> Table:
    """The table at `path` as JSON. UserError with all that is wrong with it."""
    table = read_json(path, "a rank table; python utils/hccl_tools.py writes one")
    if wrong := violations(table):
        raise ContentError(f"{path}: no valid rank table: {'; '.join(wrong)}; python utils/hccl_tools.py writes one")
    return table


def violations(table: Any) -> list[str]:
    """What is wrong with a table: one text each, with its place, what was found and what is expected."""
    if not isinstance(table, dict):
        return [f"found {type(table).__name__}, expected an object with server_list"]
    keys = ["version", "server_count", "server_list", "status"]
    if table.get("version") == SUPER_PODS:
        keys.remove("server_count")
    wrong = [f"{key}: missing" for key in keys if key not in table]
    if table.get("version", SERVERS) not in VERSIONS:
        wrong.append(f"version: found {table['version']!r}, expected one of {', '.join(VERSIONS)}")
    if table.get("status", "completed") != "completed":
        wrong.append(f"status: found {table['status']!r}, expected 'completed'; whatever writes the table is not done")
    servers, pods = table.get("server_list", []), table.get("super_pod_list", [])
    if not isinstance(servers, list) or not all(isinstance(server, dict) for server in servers):
        return [*wrong, "server_list: expected a list of objects"]
    if "server_count" in table and table["server_count"] != str(len(servers)):
        wrong.append(f"server_count: found {table['server_count']!r}, expected '{len(servers)}', the servers listed")
    if not isinstance(pods, list):
        return [*wrong, "super_pod_list: expected a list of objects"]
    wrong += _servers(servers, addressed=len(pods or servers) > 1)
    wrong += _super_pods(pods, servers) if pods else []
    return wrong if wrong else _ranks(servers)


def demands_of_910a(table: Table) -> list[str]:
    """What a valid table has that 910As, those of an Atlas 800 training server, cannot use: one text each."""
    groups = [[int(device["device_id"]) for device in server["device"]] for server in table["server_list"]]
    wrong = [] if table["version"] == SERVERS else [f"version {table['version']}, expected {SERVERS}"]
    wrong += [reason for ids in groups for reason in group_demands_of_910a(ids)]
    if len({len(ids) for ids in groups}) > 1:
        wrong.append(f"{', '.join(str(len(ids)) for ids in groups)} devices, expected as many on every server")
    if not all("device_ip" in device for server in table["server_list"] for device in server["device"]):
        wrong.append("device_ip missing")
    return list(dict.fromkeys(wrong))


def _super_pods(pods, servers):
    """Violations of a list of super pods."""
    members = []
    for number, pod in enumerate(pods):
        try:
            members += [(server["server_id"], pod["super_pod_id"]) for server in pod["server_list"]]
        except (KeyError, TypeError):
            return [f"super_pod_list[{number}]: expected super_pod_id and server_list, objects with a server_id"]
    names, expected = [name for name, _ in members], [server.get("server_id") for server in servers]
    if sorted(map(str, names)) != sorted(map(str, expected)):
        return [f"super_pod_list: found the servers {', '.join(map(str, names))}, expected each of server_list once"]
    runs = [pod for pod, _ in itertools.groupby(expected, key=dict(members).get)]
    return [] if len(runs) == len(set(runs)) else ["server_list: the servers of a super pod do not stand together"]


def _servers(servers, addressed):
    """Violations within each server; `addressed`: the devices must have an address."""
    wrong, addresses, places = ([] if servers else ["server_list: no server"]), {}, {}
    for number, server in enumerate(servers):
        place, name = f"server_list[{number}]", server.get("server_id")
        if not isinstance(name, str) or not 0 < len(name) <= NAME:
            wrong.append(f"{place}.server_id: found {name!r}, expected the server's address, up to {NAME} characters")
        elif places.setdefault(name, place) != place:
            wrong.append(f"{place}.server_id: {name} is {places[name]}'s too")
        devices = server.get("device")
        if not isinstance(devices, list) or not devices or not all(isinstance(device, dict) for device in devices):
            wrong.append(f"{place}.device: expected a list of one object per device")
            continue
        for index, device in enumerate(devices):
            wrong += _device(f"{place}.device[{index}]", device, addresses, addressed)
        wrong += _group(place, [device.get("device_id") for device in devices])
    return wrong


def _device(place, device, addresses, addressed):
    """Violations of a device on its own; `addresses` {device_ip: place} of those before it."""
    wrong = []
    for key in ("device_id", "rank_id"):
        value = device.get(key)
        if not isinstance(value, str) or not (value.isascii() and value.isdigit()):
            wrong.append(f"{place}.{key}: found {value!r}, expected a number in quotes")
    if "device_ip" not in device and not addressed:
        return wrong
    address = device.get("device_ip")
    try:
        ipaddress.ip_address(address if isinstance(address, str) else "")
    except ValueError:
        return [*wrong, f"{place}.device_ip: found {address!r}, expected an IP address, see /etc/hccn.conf"]
    if address in addresses:
        wrong.append(f"{place}.device_ip: {address} is {addresses[address]}'s too")
    addresses.setdefault(address, place)
    return wrong


def _group(place, ids):
    """Violations of the set of devices of a server."""
    if not all(isinstance(number, str) and number.isdigit() for number in ids):
        return []       # _device has named it
    wrong = [f"{place}.device: device_id {number} twice" for number in sorted(set(ids)) if ids.count(number) > 1]
    return wrong or [f"{place}.device: {reason}" for reason in group_violations([int(number) for number in ids])]


def group_violations(ids: list[int]) -> list[str]:
    """What keeps the devices `ids` of one server from training together on any Ascend."""
    if max(ids) >= LARGEST:     # so there are no more than 16, too
        return [f"device {max(ids)}, expected 0 to {LARGEST - 1}"]
    return []


def group_demands_of_910a(ids: list[int]) -> list[str]:
    """What keeps the devices `ids` of one server from training together if they are 910As."""
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
    ranks = [sorted(int(device["rank_id"]) for device in server["device"]) for server in servers]
    every = sorted(rank for local in ranks for rank in local)
    if every != list(range(len(every))):
        return [f"rank_id: found {', '.join(map(str, every))}, expected each of 0 to {len(every) - 1} once"]
    for number, local in enumerate(ranks):
        if local[-1] - local[0] >= len(local):
            return [f"server_list[{number}]: found the ranks {', '.join(map(str, local))}, expected consecutive ones; "
                    "renumber the ranks (--merge does)"]
    order = sorted(range(len(servers)), key=lambda number: servers[number]["server_id"])
    if order != sorted(range(len(servers)), key=lambda number: ranks[number]):
        return ["server_id: the servers' ranks are not in the order of their ids as text, which HCCL expects; "
                "renumber the ranks (--merge does)"]
    return []
