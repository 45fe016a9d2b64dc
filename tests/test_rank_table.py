"""Rank tables: written, joined, checked; every rule broken once."""
import copy
import json
import re

import pytest
from helpers.documents import ROOT
from helpers.errors import refused
from helpers.rank_tables import ONE, TWO, table, write

from utils import hccl_tools
from utils.errors import ContentError, MismatchError, NotFoundError, SettingError
from utils.launching.rank_table import Process, demands_of_910a, read_rank_table, server_name, violations


def super_pods(*pods):
    """A table of version 1.2: of super pods, texts, each letter a server with two devices."""
    content = table(*([(0, 2 * i), (1, 2 * i + 1)] for i in range(len("".join(pods)))))
    for server, letter in zip(content["server_list"], "".join(pods), strict=True):
        server["server_id"] = f"node_{letter}"
    del content["server_count"]
    return content | {"version": "1.2", "super_pod_list": [
        {"super_pod_id": str(number), "server_list": [{"server_id": f"node_{letter}"} for letter in pod]}
        for number, pod in enumerate(pods)]}


def without_addresses(content):
    """`content` with no device_ip."""
    content = copy.deepcopy(content)
    for server in content["server_list"]:
        for entry in server["device"]:
            del entry["device_ip"]
    return content


@pytest.fixture
def conf(tmp_path):
    path = tmp_path / "hccn.conf"
    path.write_text("".join(f"address_{i}=192.168.100.{100 + i}\nnetmask_{i}=255.255.255.0\n" for i in range(17)))
    return path


def test_the_documented_table_is_read(tmp_path):
    path = write(tmp_path / "t.json", ONE)
    assert read_rank_table(path) == [Process(0, 0, 0), Process(0, 1, 1)]
    assert read_rank_table(write(path, TWO))[2:] == [Process(1, 4, 2), Process(1, 5, 3)]
    assert [device.server for device in read_rank_table(write(path, super_pods("ab", "c")))] == [0, 0, 1, 1, 2, 2]
    assert server_name(path, 0) == "node_a"
    content = copy.deepcopy(ONE)
    content["server_list"][0]["host_ip"] = "172.16.0.100"
    assert server_name(write(path, content), 0) == "172.16.0.100" and server_name(write(path, TWO), 1) == "10.0.0.2"


def test_eight_devices_are_written_as_documented(tmp_path, conf):
    path = hccl_tools.main(["--server_ip", "10.1.2.3", "--hccn_conf", str(conf), "--output_dir", str(tmp_path)])
    assert path.name == "hccl_8p_01234567_10.1.2.3.json"
    written = json.loads(path.read_text())
    assert written["server_list"][0]["device"][7] == {
        "device_id": "7", "device_ip": "192.168.100.107", "rank_id": "7"}
    assert written["server_list"][0]["host_nic_ip"] == "reserve" and written["server_count"] == "1"
    assert hccl_tools.main(["--check", str(path)]) == path


def test_sixteen_devices_of_an_a3(tmp_path, conf, capsys):
    """Their ids differ in the name; what only a 910A refuses is written, with a warning."""
    common = ["--server_ip", "h", "--hccn_conf", str(conf), "--output_dir", str(tmp_path)]
    path = hccl_tools.main(["--device_num", "[0,16)", *common])
    assert path.name == "hccl_16p_0-1-2-3-4-5-6-7-8-9-10-11-12-13-14-15_h.json"
    assert [(device.device_id, device.rank) for device in read_rank_table(path)] == [(i, i) for i in range(16)]
    assert capsys.readouterr().err == "note: not for a 910A: 16 devices, expected 1, 2, 4, 8\n"
    names = {hccl_tools.main(["--device_num", f"[{first},{last})", *common]).name
             for first in range(16) for last in range(first + 1, 17)}
    assert len(names) == 16 * 17 // 2
    capsys.readouterr()
    hccl_tools.main(["--device_num", "[4,8)", *common])
    assert capsys.readouterr().err == ""


def test_visible_devices_are_meant_by_their_places(tmp_path, conf):
    path = hccl_tools.main(["--device_num", "[0,2)", "--visible_devices", "6,4,5", "--server_ip", "h", "--hccn_conf",
                            str(conf), "--output_dir", str(tmp_path)])
    assert [(device.device_id, device.rank) for device in read_rank_table(path)] == [(6, 0), (4, 1)]


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
    with refused(ContentError, "server_list[1].server_id", "10.0.0.9", "server_list[0]"):
        hccl_tools.main(["--merge", paths[0], paths[0], "--output_dir", str(tmp_path)])


def test_merged_super_pods(tmp_path):
    """Servers of the same super pod come together, though its tables do not."""
    def one(letter, pod, version="1.2"):
        content = super_pods(letter)
        content["super_pod_list"][0]["super_pod_id"] = pod
        return str(write(tmp_path / f"{letter}.json", without_addresses(content) | {"version": version}))

    merged = hccl_tools.main(["--merge", one("b", "7"), one("a", "7"), "--output_dir", str(tmp_path)])
    content = json.loads(merged.read_text())
    assert content["version"] == "1.2" and content["server_count"] == "2"
    assert content["super_pod_list"] == [{"super_pod_id": "7", "server_list": [
        {"server_id": "node_b"}, {"server_id": "node_a"}]}]
    assert [one.rank for one in read_rank_table(merged)] == [0, 1, 2, 3]
    with refused(ContentError, "device_ip", None):       # two super pods reach each other by it
        hccl_tools.main(["--merge", one("b", "7"), one("a", "8"), "--output_dir", str(tmp_path)])
    plain = str(write(tmp_path / "plain.json", ONE))
    with refused(MismatchError, "merge", "1.0", "1.2"):
        hccl_tools.main(["--merge", one("b", "7"), plain, "--output_dir", str(tmp_path)])


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
    "no address": (broken(TWO, *FIRST, "device_ip", value=None), "device_ip: found None, expected an IP"),
    "no address in two super pods": (without_addresses(super_pods("a", "b")), "device_ip: found None, expected an IP"),
    "address twice": (broken(ONE, *FIRST, "device_ip", value="192.168.0.11"), "is server_list[0].device[0]'s too"),
    "device twice": (broken(ONE, *FIRST, "device_id", value="1"), "device_id 1 twice"),
    "seventeenth device": (table([(16, 0)]), "device 16, expected 0 to 15"),
    "long server id": (broken(ONE, "server_list", 0, "server_id", value="n" * 65), "up to 64 characters"),
    "rank twice": (table([(0, 0), (1, 0)]), "rank_id: found 0, 0, expected each of 0 to 1 once"),
    "gap": (table([(0, 0), (1, 2)]), "rank_id: found 0, 2, expected each of 0 to 1 once"),
    "mixed ranks": (table([(0, 0), (1, 2)], [(0, 1), (1, 3)]), "found the ranks 0, 2, expected consecutive ones"),
    "super pods": (super_pods("a") | {"super_pod_list": {}}, "super_pod_list: expected a list"),
    "super pod": (super_pods("a") | {"super_pod_list": [{"super_pod_id": "0"}]}, "super_pod_list[0]: expected super_"),
    "server of no super pod": (super_pods("ab") | {"super_pod_list": super_pods("a")["super_pod_list"]},
                               "super_pod_list: found the servers node_a, expected each of server_list once"),
    "mixed super pods": (super_pods("abc") | {"super_pod_list": super_pods("ac", "b")["super_pod_list"]},
                         "the servers of a super pod do not stand together"),
    "order of servers": (table([(0, 2), (1, 3)], [(0, 0), (1, 1)]), "not in the order of their ids"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_every_violation_is_explained(name, tmp_path):
    content, message = BROKEN[name]
    messages = violations(content)
    assert any(message in line for line in messages), messages
    with refused(ContentError, tmp_path / "t.json", *messages):
        hccl_tools.main(["--check", str(write(tmp_path / "t.json", content))])


VALID = {
    "one server": (ONE, ""),
    "two": (TWO, ""),
    "eight": (table([(i, i) for i in range(8)]), ""),
    "upper half": (table([(i, i - 4) for i in range(4, 8)]), ""),
    # Atlas A2
    "three devices": (table([(0, 0), (1, 1), (2, 2)]), "3 devices, expected 1, 2, 4, 8"),
    "both halves": (table([(3, 0), (4, 1)]), "devices 3, 4, expected all of 0 to 3 or all of 4 to 7"),
    "different servers": (table([(0, 0), (1, 1)], [(0, 2)]), "2, 1 devices, expected as many on every server"),
    "no address": (without_addresses(ONE), "device_ip missing"),
    # Atlas A3
    "ninth device": (table([(8, 0)]), "device 8, expected 0 to 7"),
    "sixteen": (table(*([(i, 16 * server + i) for i in range(16)] for server in (0, 1))), "16 devices, expected 1, 2"),
    "super pods": (super_pods("ab", "c"), "version 1.2, expected 1.0"),
    "one super pod": (without_addresses(super_pods("ab")), "version 1.2, expected 1.0; device_ip missing"),
}


@pytest.mark.parametrize("name", VALID)
def test_a_table_of_any_ascend_is_valid(name, tmp_path, capsys):
    """And what a 910A refuses is printed."""
    content, note = VALID[name]
    assert violations(content) == [] and "; ".join(demands_of_910a(content)).startswith(note)
    path = write(tmp_path / "t.json", content)
    hccl_tools.main(["--check", str(path)])
    printed = capsys.readouterr()
    assert re.fullmatch(rf"{path}: valid, \d server\(s\), \d+ devices\n", printed.out)
    assert printed.err.startswith(f"note: not for a 910A: {note}") if note else printed.err == ""


@pytest.mark.parametrize(("arguments", "kind", "facts"), [
    (["--device_num", "8"], SettingError, ["device_num", "'8'", '"[0,8)"']),
    (["--device_num", "[2,2)"], SettingError, ["device_num", "'[2,2)'"]),
    (["--device_num", "[8,17)"], SettingError, ["device_num", "device 16", "0 to 15"]),
    (["--device_num", "[0,2)", "--visible_devices", "5"], SettingError, ["visible_devices", "1 devices", "device_num"]),
    (["--device_num", "[0,1)", "--visible_devices", "a"], SettingError, ["visible_devices", "'a'"]),
    (["--device_num", "[0,1)", "--hccn_conf", "/nowhere"], NotFoundError, ["device 0", "address_0", "/nowhere"]),
    (["--check", "/nowhere.json"], NotFoundError, ["/nowhere.json"]),
    (["--check", str(ROOT / "README.md")], ContentError, [ROOT / "README.md", "JSON"]),
])
def test_mistakes_are_refused(arguments, kind, facts, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))       # no hccn_tool
    with refused(kind, *facts):
        hccl_tools.main([*arguments, "--server_ip", "10.0.0.1", "--output_dir", str(tmp_path)])
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
