"""Rank tables: written, joined, checked; every rule broken once."""
import copy
import json

import pytest
from programs import ROOT

from utils import hccl_tools
from utils.errors import UserError
from utils.rank_table import Process, read_rank_table, violations


def device(number, rank, server=0):
    return {"device_id": str(number), "device_ip": f"192.168.{server}.{10 + number}", "rank_id": str(rank)}


def table(*servers):
    """A valid table; `servers` are lists of (device, rank)."""
    return {"version": "1.0", "server_count": str(len(servers)), "status": "completed", "server_list": [
        {"server_id": f"10.0.0.{1 + number}", "host_nic_ip": "reserve",
         "device": [device(*one, server=number) for one in devices]} for number, devices in enumerate(servers)]}


ONE = table([(0, 0), (1, 1)])
TWO = table([(0, 0), (1, 1)], [(4, 2), (5, 3)])


@pytest.fixture
def conf(tmp_path):
    path = tmp_path / "hccn.conf"
    path.write_text("".join(f"address_{i}=192.168.100.{100 + i}\nnetmask_{i}=255.255.255.0\n" for i in range(8)))
    return path


def write(path, content):
    path.write_text(json.dumps(content))
    return path


def test_the_documented_table_is_read(tmp_path):
    path = write(tmp_path / "t.json", ONE)
    assert read_rank_table(path) == [Process(0, 0, 0), Process(0, 1, 1)]
    assert read_rank_table(write(path, TWO))[2:] == [Process(1, 4, 2), Process(1, 5, 3)]
    newer = copy.deepcopy(ONE) | {"version": "1.2", "super_pod_list": [{"super_pod_id": "0"}]}
    newer["server_list"][0]["device"][0] |= {"super_device_id": "0", "device_port": "16666"}
    assert len(read_rank_table(write(path, newer))) == 2


def test_eight_devices_are_written_as_documented(tmp_path, conf):
    path = hccl_tools.main(["--server_ip", "10.1.2.3", "--hccn_conf", str(conf), "--output_dir", str(tmp_path)])
    assert path.name == "hccl_8p_01234567_10.1.2.3.json"
    written = json.loads(path.read_text())
    assert written["server_list"][0]["device"][7] == {
        "device_id": "7", "device_ip": "192.168.100.107", "rank_id": "7"}
    assert written["server_list"][0]["host_nic_ip"] == "reserve" and written["server_count"] == "1"
    assert hccl_tools.main(["--check", str(path)]) == path


def test_visible_devices_are_meant_by_their_places(tmp_path, conf):
    path = hccl_tools.main(["--device_num", "[0,2)", "--visible_devices", "6,4,5", "--server_ip", "h", "--hccn_conf",
                            str(conf), "--output_dir", str(tmp_path)])
    assert [(one.device_id, one.rank) for one in read_rank_table(path)] == [(6, 0), (4, 1)]


def test_merged_tables_count_ranks_in_the_order_of_the_server_ids(tmp_path):
    """As text: 10.0.0.10 comes before 10.0.0.9."""
    paths = []
    for number, name in enumerate(("10.0.0.9", "10.0.0.10")):
        one = table([(0, 0), (1, 1)])
        one["server_list"][0]["server_id"] = name
        for entry in one["server_list"][0]["device"]:
            entry["device_ip"] = entry["device_ip"].replace("192.168.0", f"192.168.{number}")
        paths.append(str(write(tmp_path / f"{number}.json", one)))
    merged = hccl_tools.main(["--merge", *paths, "--output_dir", str(tmp_path)])
    assert merged.name == "hccl_2s_4p.json"
    content = json.loads(merged.read_text())
    assert [server["server_id"] for server in content["server_list"]] == ["10.0.0.10", "10.0.0.9"]
    assert [one.rank for one in read_rank_table(merged)] == [0, 1, 2, 3]
    with pytest.raises(UserError, match="server_id: 10.0.0.9 is .* too"):
        hccl_tools.main(["--merge", paths[0], paths[0], "--output_dir", str(tmp_path)])


def broken(base, *path, value):
    """`base` with one place changed; value None removes it."""
    changed = copy.deepcopy(base)
    place = changed
    for key in path[:-1]:
        place = place[key]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return changed


FIRST = ("server_list", 0, "device", 0)
BROKEN = {
    "no version": (broken(ONE, "version", value=None), "version: missing"),
    "version": (broken(ONE, "version", value="2.0"), "version: found '2.0', expected one of 1.0, 1.2"),
    "status": (broken(ONE, "status", value="initializing"), "status: found 'initializing', expected 'completed'"),
    "count": (broken(ONE, "server_count", value="2"), "server_count: found '2', expected '1'"),
    "count a number": (broken(ONE, "server_count", value=1), "server_count: found 1, expected '1'"),
    "no servers": (broken(ONE, "server_list", value=[]), "server_list: no server"),
    "servers": (broken(ONE, "server_list", value={}), "server_list: expected a list"),
    "no devices": (broken(ONE, "server_list", 0, "device", value=[]), "device: expected a list of one object"),
    "server twice": (broken(TWO, "server_list", 1, "server_id", value="10.0.0.1"), "10.0.0.1 is server_list[0]'s too"),
    "no server id": (broken(ONE, "server_list", 0, "server_id", value=None), "server_id: found None"),
    "device a number": (broken(ONE, *FIRST, "device_id", value=0), "device_id: found 0, expected a number in quotes"),
    "rank": (broken(ONE, *FIRST, "rank_id", value="first"), "rank_id: found 'first', expected a number in quotes"),
    "address": (broken(ONE, *FIRST, "device_ip", value="192.168.0"), "device_ip: found '192.168.0', expected an IP"),
    "no address": (broken(ONE, *FIRST, "device_ip", value=None), "device_ip: found None, expected an IP"),
    "address twice": (broken(ONE, *FIRST, "device_ip", value="192.168.0.11"), "is server_list[0].device[0]'s too"),
    "device twice": (broken(ONE, *FIRST, "device_id", value="1"), "device_id 1 twice"),
    "three devices": (table([(0, 0), (1, 1), (2, 2)]), "3 devices, expected 1, 2, 4, 8"),
    "both halves": (table([(3, 0), (4, 1)]), "devices 3, 4, expected all of 0 to 3 or all of 4 to 7"),
    "ninth device": (table([(8, 0)]), "device 8, expected 0 to 7"),
    "rank twice": (table([(0, 0), (1, 0)]), "rank_id: found 0, 0, expected each of 0 to 1 once"),
    "gap": (table([(0, 0), (1, 2)]), "rank_id: found 0, 2, expected each of 0 to 1 once"),
    "order of servers": (table([(0, 2), (1, 3)], [(0, 0), (1, 1)]), "not in the order of their ids"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_every_violation_is_explained(name, tmp_path):
    content, message = BROKEN[name]
    found = violations(content)
    assert any(message in one for one in found), found
    with pytest.raises(UserError) as error:
        hccl_tools.main(["--check", str(write(tmp_path / "t.json", content))])
    assert "t.json: no valid rank table: " in str(error.value) and "\n" not in str(error.value)


def test_valid_tables_have_no_violations():
    assert violations(ONE) == [] and violations(TWO) == []
    assert violations(table([(i, i) for i in range(8)])) == []


@pytest.mark.parametrize(("arguments", "message"), [
    (["--device_num", "8"], 'device_num: found \'8\', expected a range such as "[0,8)"'),
    (["--device_num", "[2,2)"], "device_num: found"),
    (["--device_num", "[0,3)"], "3 devices, expected 1, 2, 4, 8"),
    (["--device_num", "[2,6)"], "devices 2, 3, 4, 5, expected all of 0 to 3"),
    (["--device_num", "[0,2)", "--visible_devices", "5"], "1 devices, but device_num goes to number 1"),
    (["--device_num", "[0,1)", "--visible_devices", "a"], "visible_devices: found 'a'"),
    (["--device_num", "[0,1)", "--hccn_conf", "/nowhere"], "device 0: no address, neither address_0 in /nowhere"),
    (["--check", "/nowhere.json"], "/nowhere.json: No such file"),
    (["--check", str(ROOT / "README.md")], "README.md: not JSON"),
])
def test_mistakes_are_told(arguments, message, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))       # no hccn_tool
    with pytest.raises(UserError) as error:
        hccl_tools.main([*arguments, "--server_ip", "10.0.0.1", "--output_dir", str(tmp_path)])
    assert message in str(error.value)
    assert not list(tmp_path.glob("*.json"))


def test_addresses_from_the_drivers_tool(tmp_path, monkeypatch):
    """Where there is no hccn.conf, as `hccn_tool -i N -ip -g` prints them."""
    tool = tmp_path / "hccn_tool"
    tool.write_text('#!/bin/sh\necho "ipaddr:192.168.7.$2"\necho "netmask:255.255.255.0"\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    path = hccl_tools.main(["--device_num", "[4,8)", "--server_ip", "10.0.0.1", "--hccn_conf", "/nowhere",
                            "--output_dir", str(tmp_path)])
    assert json.loads(path.read_text())["server_list"][0]["device"][1]["device_ip"] == "192.168.7.5"
