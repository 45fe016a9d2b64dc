"""Writes, joins and checks HCCL rank tables.

    python utils/hccl_tools.py --device_num "[0,8)"           this server's table: hccl_8p_01234567_<ip>.json
    python utils/hccl_tools.py --merge a.json b.json          those of several servers as one: hccl_2s_16p.json
    python utils/hccl_tools.py --check hccl_8p.json           prints all that is wrong with a table

What only a 910A refuses, such as 3 devices or 16, is no mistake: a line on stderr warns of it.
"""
import argparse
import json
import re
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from utils.command_line import Parser
from utils.errors import ContentError, MismatchError, NotFoundError, SettingError, run
from utils.files import write_text
from utils.launching.rank_table import Table, demands_of_910a, group_violations, load, violations
from utils.texts import read_text

HCCN_CONF = "/etc/hccn.conf"    # address_N=<address of device N's network card>


def main(argv: Sequence[str]) -> Path:
    """Does what the command line asks for; returns the path of the table written."""
    args = parse(argv)
    if args.check:
        table = load(args.check)
        print(f"{args.check}: valid, {len(table['server_list'])} server(s), {device_count(table)} devices")
        note_910a(table)
        return Path(args.check)
    if args.merge:
        table = merge([load(path) for path in args.merge])
        name = f"hccl_{len(table['server_list'])}s_{device_count(table)}p.json"
    else:
        ids = device_ids(args.device_num, args.visible_devices)
        address = args.server_ip or server_address()
        table = make_table(address, ids, args.hccn_conf)
        name = f"hccl_{len(ids)}p_{('-' if max(ids) > 9 else '').join(map(str, ids))}_{address}.json"
    path = Path(args.output_dir, name)
    write_text(path, json.dumps(table, indent=2) + "\n")
    print(f"{path}: {device_count(table)} devices")
    note_910a(table)
    return path


def note_910a(table: Table) -> None:
    """Prints what a 910A would not take of a valid table."""
    if reasons := demands_of_910a(table):
        print(f"note: not for a 910A: {'; '.join(reasons)}", file=sys.stderr)


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device_num", default="[0,8)",
                        help='the devices as a range, default "[0,8)"; an Atlas A3 has "[0,16)"')
    parser.add_argument("--visible_devices", default="", help="which are meant by 0, 1, ...: e.g. 4,5,6,7")
    parser.add_argument("--server_ip", default="", help="this server's address, default: what its name resolves to")
    parser.add_argument("--hccn_conf", default=HCCN_CONF, help="the devices' addresses; else hccn_tool is asked")
    parser.add_argument("--merge", nargs="+", metavar="FILE", help="tables to join")
    parser.add_argument("--check", metavar="FILE", help="table to check")
    parser.add_argument("--output_dir", default=".", help="where the rank table goes (default: here)")
    return parser.parse_args(argv)


def device_ids(text: str, visible: str) -> list[int]:
    """The physical devices of a range such as "[0,8)", or of those places in the list `visible`."""
    match = re.fullmatch(r"\[(\d{1,4}),(\d{1,4})\)", text.replace(" ", ""))
    if not match or int(match[1]) >= int(match[2]):
        raise SettingError(f'device_num: found {text!r}, expected a range such as "[0,8)" for devices 0 to 7')
    ids = list(range(int(match[1]), int(match[2])))
    if visible:
        if not re.fullmatch(r"\d+(,\d+)*", visible.replace(" ", "")):
            raise SettingError(f"visible_devices: found {visible!r}, expected numbers such as 4,5,6,7")
        physical = [int(number) for number in visible.split(",")]
        if len(physical) <= ids[-1]:
            raise SettingError(f"visible_devices: {len(physical)} devices, but device_num goes to number {ids[-1]}")
        ids = [physical[place] for place in ids]
    if reasons := group_violations(ids):
        raise SettingError(f"device_num: {reasons[0]}; these cannot train together")
    return ids


def make_table(address: str, ids: Sequence[int], conf: str | Path) -> Table:
    """The table of one server, ranks in the order of `ids`."""
    addresses = read_addresses(conf)
    devices = [{"device_id": str(device), "device_ip": addresses.get(device) or ask_hccn_tool(device, conf),
                "rank_id": str(rank)} for rank, device in enumerate(ids)]
    return checked({"version": "1.0", "server_count": "1", "status": "completed",
                    "server_list": [{"server_id": address, "device": devices, "host_nic_ip": "reserve"}]})


def read_addresses(conf: str | Path) -> dict[int, str]:
    """{device: address} of the lines address_N=... of a hccn.conf; empty where there is no such file."""
    if not Path(conf).exists():
        return {}
    text = read_text(conf, "lines address_N=...; run as a user who may read it, or pass --hccn_conf")
    return {int(number): address for number, address in re.findall(r"^\s*address_(\d+)\s*=\s*(\S+)", text, re.M)}


def ask_hccn_tool(device: int, conf: str | Path) -> str:
    """The address of a device's network card, from the driver's tool."""
    try:
        done = subprocess.run(["hccn_tool", "-i", str(device), "-ip", "-g"], capture_output=True, text=True, timeout=30,
                              check=False)
        match = re.search(r"ipaddr:\s*(\S+)", done.stdout)
    except (OSError, subprocess.TimeoutExpired):
        match = None
    if not match:
        raise NotFoundError(f"device {device}: no address, neither address_{device} in {conf} nor from hccn_tool; set "
                            "the devices' addresses first")
    return match[1]


def server_address() -> str:
    """What this server's name resolves to."""
    try:
        return socket.gethostbyname(socket.gethostname())
    except OSError as error:
        raise NotFoundError(f"server_ip: this server's name has no address ({error}); pass --server_ip") from None


def device_count(table: Table) -> int:
    """Devices of all servers."""
    return sum(len(server["device"]) for server in table["server_list"])


def merge(tables: Sequence[Table]) -> Table:
    """One table of several, each of one or more servers; ranks numbered in the order of the servers' ids.

    Super pods of the same id become one.
    """
    if len({table["version"] for table in tables}) > 1:
        raise MismatchError("merge: found tables of the versions 1.0 and 1.2, expected one version")
    # HCCL wants ranks in the order of the ids as text, whatever the order of the files
    servers = sorted((server for table in tables for server in table["server_list"]),
                     key=lambda server: server["server_id"])
    rank = 0
    for server in servers:
        for device in sorted(server["device"], key=lambda device: int(device["rank_id"])):
            device["rank_id"], rank = str(rank), rank + 1
    merged = tables[0] | {"server_count": str(len(servers)), "server_list": servers}
    pods = {}
    for table in tables:
        for pod in table.get("super_pod_list", []):
            pods.setdefault(pod["super_pod_id"], []).extend(pod["server_list"])
    if pods:
        merged["super_pod_list"] = [{"super_pod_id": name, "server_list": members} for name, members in pods.items()]
    return checked(merged)


def checked(table: Table) -> Table:
    """The table; ContentError where it is not valid."""
    if wrong := violations(table):
        raise ContentError("the table would not be valid: " + "; ".join(wrong))
    return table


if __name__ == "__main__":
    run(main, sys.argv[1:])
