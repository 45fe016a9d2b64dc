"""Rank tables of one and of two servers."""
import json


def device(number, rank, server=0):
    return {"device_id": str(number), "device_ip": f"192.168.{server}.{10 + number}", "rank_id": str(rank)}


def table(*servers):
    """A valid table; `servers` are lists of (device, rank)."""
    return {"version": "1.0", "server_count": str(len(servers)), "status": "completed", "server_list": [
        {"server_id": f"10.0.0.{1 + number}", "host_nic_ip": "reserve",
         "device": [device(*numbers, server=number) for numbers in devices]} for number, devices in enumerate(servers)]}


ONE = table([(0, 0), (1, 1)])
TWO = table([(0, 0), (1, 1)], [(4, 2), (5, 3)])


def write(path, content):
    path.write_text(json.dumps(content))
    return path
