"""utils/torch_weights/torch_file.py: what torch.save wrote is read without torch, and what means harm is not run."""
import argparse
import datetime
import enum
import functools
import io
import os
import pickle
import random
import subprocess
import tarfile
import zipfile
from collections import Counter, OrderedDict, defaultdict, deque
from decimal import Decimal
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
import pytest
from helpers.errors import assert_refusal, refused
from helpers.originals import golden
from helpers.programs import program

from utils.errors import ContentError, NotFoundError, OutputError
from utils.torch_weights.plain_pickle import Instance, Name, plain
from utils.torch_weights.torch_file import MAGIC, as_array, read, write

TENSOR = b"ctorch._utils\n_rebuild_tensor_v2\n"


def archive(path, data, storages=None, compression=zipfile.ZIP_STORED, **entries):
    """A file in torch.save's format around a pickle (bytes)."""
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in ({"data.pkl": data, "version": b"3\n"} | entries).items():
            file.writestr(f"a/{name}", content)
        for key, content in (storages or {}).items():
            file.writestr(f"a/data/{key}", content)
    return path


def number(value):
    return b"J" + int(value).to_bytes(4, "little", signed=True)


def text(value):
    return b"X" + len(value).to_bytes(4, "little") + value.encode()


def tensor(kind, key, size, offset, shape, strides):
    """Opcodes of one tensor, as torch.save writes them."""
    storage = text("storage") + f"ctorch\n{kind}Storage\n".encode() + text(key) + text("cpu") + number(size)
    shape, strides = [b"(" + b"".join(map(number, numbers)) + b"t" for numbers in (shape, strides)]
    return TENSOR + b"((" + storage + b"tQ" + number(offset) + shape + strides + b"\x89ccollections\nOrderedDict\n)RtR"


def named(**tensors):
    """A pickle of {name: tensor}."""
    return b"\x80\x02}(" + b"".join(text(name) + value for name, value in tensors.items()) + b"u."


@pytest.mark.parametrize("order", ["<", ">"])
def test_views_share_a_storage(order, tmp_path):
    """A transposed and a cut view of one storage, in either byte order."""
    values = np.arange(12, dtype=f"{order}f4")
    path = archive(tmp_path / "a.pt", named(whole=tensor("Float", "0", 12, 0, (3, 4), (4, 1)),
                                            turned=tensor("Float", "0", 12, 1, (4, 2), (1, 4)),
                                            scalar=tensor("Float", "0", 12, 7, (), ()),
                                            nothing=tensor("Float", "0", 12, 12, (0, 5), (5, 1))),
                   {"0": values.tobytes()}, byteorder=b"little" if order == "<" else b"big")
    arrays = read(path)
    expected = np.arange(12, dtype=np.float32).reshape(3, 4)
    np.testing.assert_array_equal(arrays["whole"], expected)
    np.testing.assert_array_equal(arrays["turned"], [[1, 5], [2, 6], [3, 7], [4, 8]])
    assert arrays["scalar"] == 7 and arrays["scalar"].shape == () and arrays["nothing"].shape == (0, 5)
    assert arrays["whole"].dtype == np.float32 and np.shares_memory(arrays["whole"], arrays["turned"])


@pytest.mark.parametrize(("kind", "values"), [
    ("Float", np.array([1.5, -2], np.float32)), ("Double", np.array([1e-300, 3])),
    ("Half", np.array([0.5, 7], np.float16)), ("Long", np.array([-2 ** 40, 1])), ("Int", np.array([-3, 4], np.int32)),
    ("Short", np.array([-3, 4], np.int16)), ("Char", np.array([-3, 4], np.int8)),
    ("Byte", np.array([200, 4], np.uint8)), ("Bool", np.array([True, False]))])
def test_types_of_numbers(kind, values, tmp_path):
    data = named(x=tensor(kind, "0", 2, 0, (2,), (1,)))
    actual = read(archive(tmp_path / "a.pt", data, {"0": values.tobytes()}))["x"]
    assert actual.dtype == values.dtype
    np.testing.assert_array_equal(actual, values)


def test_bfloat16_is_the_upper_half_of_float32(tmp_path):
    values = np.array([1, -2.5, 3.140625], np.float32)
    data = (values.view(np.uint32) >> 16).astype(np.uint16).tobytes()
    actual = read(archive(tmp_path / "a.pt", named(x=tensor("BFloat16", "0", 3, 0, (3,), (1,))), {"0": data}))["x"]
    assert actual.dtype == np.float32
    np.testing.assert_array_equal(actual, values)


@pytest.mark.parametrize(("size", "offset", "shape", "strides"), [
    (12, 1, (3, 4), (4, 1)), (12, 0, (3, 4), (5, 1)), (12, 13, (), ()), (12, 13, (0,), (1,)),
    (12, 0, (2 ** 20, 2 ** 20), (0, 0)),     # one number, repeated to terabytes
    (12, -1, (3,), (1,)), (12, 3, (3,), (-1,)), (12, 0, (-3,), (1,)), (12, 0, (3, 4), (1,)), (13, 0, (3,), (1,)),
    (2 ** 31 - 1, 0, (3,), (1,))])
def test_tensors_stay_within_their_storage(size, offset, shape, strides, tmp_path):
    path = archive(tmp_path / "a.pt", named(x=tensor("Float", "0", size, offset, shape, strides)), {"0": bytes(48)})
    facts = [f"shape {shape}", f"strides {strides}", f"offset {offset}"] if size == 12 else [size, "48 bytes"]
    with refused(ContentError, path, *facts):
        read(path)


class Evil:
    """What pickle.loads and torch.load(weights_only=False) would run."""

    def __init__(self, call, *arguments):
        self.call, self.arguments = call, arguments

    def __reduce__(self):
        return self.call, self.arguments


def attacks(marker):
    """Pickles that would make the file `marker`."""
    touch = f"touch {marker}"
    for protocol in (0, 2, 4):
        for value in (Evil(os.system, touch), {"state_dict": {"w": Evil(subprocess.getoutput, touch)}},
                      OrderedDict(w=Evil(eval, f"open({str(marker)!r}, 'w')")),
                      {"a": [Evil(io.open, str(marker), "w")]}):
            yield pickle.dumps(value, protocol)
    yield b"(S'" + touch.encode() + b"'\nios\nsystem\n."                                        # INST
    yield b"(cos\nsystem\n" + text(touch) + b"o."                                               # OBJ
    yield b"\x80\x02cos\nsystem\n(" + text(touch) + b"t\x81."                                   # NEWOBJ
    yield b"\x80\x02c__builtin__\nexec\n(" + text(f"open({str(marker)!r}, 'w')") + b"tR."
    yield b"\x80\x02ctorch\nFloatStorage\n}" + text("__setstate__") + b"cos\nsystem\nsb" + text(touch) + b"b."
    yield b"\x80\x02ctorch.hub\nload\n(" + text(touch) + b"tR."


def test_nothing_that_a_file_names_is_run(tmp_path):
    marker = tmp_path / "marker"
    for data in attacks(marker):
        for path in (archive(tmp_path / "a.pt", data), tmp_path / "bare.pkl"):
            if path.name == "bare.pkl":
                path.write_bytes(data)
            with refused(ContentError, path):
                read(path)
    assert not marker.exists()
    pickle.loads(pickle.dumps(Evil(open, str(marker), "w"))).close()        # the attack is one
    assert marker.exists()


@pytest.mark.parametrize(("model", "form"), [("ecapatdnn", "speechbrain"), ("conv_tasnet", "asteroid"),
                                             ("deepspeech2", "deepspeech_pytorch")])
def test_programs_refuse_in_one_line(model, form, tmp_path):
    path = archive(tmp_path / "a.pt", pickle.dumps({"state_dict": Evil(os.system, f"touch {tmp_path}/marker")}, 2))
    code, output = program(model, "import_torch.py", "--format", form, path, "--output", tmp_path / "run")
    assert_refusal(code, output, path, "posix.system")
    assert output.count("\n") == 1
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.pt"]


def test_objects_are_inert(tmp_path):
    """Instances, with their arguments and state, and names: of any program, and of none is anything made."""
    data = (b"\x80\x02}(" + text("a") + b"comegaconf.nodes\nAnyNode\n)\x81}" + text("_val") + number(5) + b"sb" +
            text("b") + b"c__main__\nKind\n(" + text("x") + b"tR" + text("c") + b"comegaconf\nThing\nu.")
    objects = read(archive(tmp_path / "a.pt", data))
    assert isinstance(objects["a"], Instance) and objects["a"].state == {"_val": 5} and objects["b"].arguments == ("x",)
    assert isinstance(objects["c"], Name) and objects["c"].path == "omegaconf.Thing"


class Window(enum.Enum):
    hann = "hann"


class Namespace:
    """Stands for a class of any program that torch.save has pickled."""

    def __init__(self, **attributes):
        self.__dict__ |= attributes


def globals_of(data, *replaced):
    """A pickle of protocol 2 with other names in place of ours: (ours, theirs), each "module name"."""
    for ours, theirs in replaced:
        ours, theirs = (b"c" + name.replace(" ", "\n").encode() + b"\n" for name in (ours, theirs))
        assert ours in data
        data = data.replace(ours, theirs)
    return data


def test_what_programs_pickle_beside_the_weights(tmp_path):
    """Is data: numbers of numpy by their value, in the names of numpy 1 and 2, all else inert."""
    beside = {"args": argparse.Namespace(lr=0.1), "eer": np.float64(2.5), "step": np.int32(7), "flag": np.bool_(True),
              "losses": np.arange(3.0), "path": PurePosixPath("exp/a"), "windows": PureWindowsPath("exp"),
              "day": datetime.datetime(2026, 1, 2), "zone": datetime.timezone.utc, "counts": Counter("aab"),
              "table": defaultdict(list, a=[1]), "queue": deque([1, 2], 5), "part": functools.partial(int, base=2),
              "slice": slice(1, 2), "dots": ..., "set": {1, 2}, "frozen": frozenset("a"), "complex": 1j,
              "kind": Window.hann, "generic": list[int], "bytes": b"\x00\xff", "big": 2 ** 3000,
              "config": Namespace(model=Namespace(norm="gLN"), depth=3), "decimal": Decimal("1.5"),
              "state": random.Random(0), "numpy": np.random.default_rng(0).bit_generator.state}
    beside["config"].itself = beside["config"]
    for protocol in (0, 2, 4):
        data = pickle.dumps(beside, protocol)
        content = plain(read(archive(tmp_path / "a.pt", data)))
        assert content.keys() == beside.keys()
        assert (content["args"], content["eer"], content["step"], content["flag"]) == ({"lr": 0.1}, 2.5, 7, True)
        assert content["config"]["model"] == {"norm": "gLN"} and content["table"] == {"a": [1]}
        assert content["kind"] == "hann" and content["big"] == 2 ** 3000 and content["decimal"] == "1.5"
    for module in ("numpy._core.multiarray", "numpy.core.multiarray"):
        data = pickle.dumps({"eer": np.float32(0.5)}, 2)
        data = globals_of(data, ("numpy.core.multiarray scalar", f"{module} scalar"))
        assert read(archive(tmp_path / "a.pt", data)) == {"eer": 0.5}
    array = np.asfortranarray(np.arange(6, dtype=">f4").reshape(2, 3))
    np.testing.assert_array_equal(as_array(read(archive(tmp_path / "a.pt", pickle.dumps(array, 2)))), array)


def legacy(path, content, storages):
    """A file in the format before PyTorch 1.6: `content` is a pickle, storages are {key: numbers}."""
    head = [pickle.dumps(value, 2) for value in (
        0x1950a86a20f9469cfc6c, 1001, {"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}})]
    assert head[0] == MAGIC
    tail = [len(numbers).to_bytes(8, "little") + numbers.tobytes() for numbers in storages.values()]
    path.write_bytes(b"".join([*head, content, pickle.dumps(list(storages), 2), *tail]))
    return path


def test_files_from_before_the_zip_format(tmp_path):
    """Two storages, a view of one, a name of Python 2; cut and hostile ones are refused."""
    numbers = {"17": np.arange(6, dtype=np.float32), "4": np.array([-1, 5])}
    weight, count = tensor("Float", "17", 6, 0, (2, 3), (3, 1)), tensor("Long", "4", 2, 1, (), ())
    end = number(6) + b"tQ"     # before it, in this format, stands what the storage is a view of
    weight = weight.replace(end, number(6) + b"NtQ")
    count = count.replace(number(2) + b"tQ", number(2) + b"(" + text("4") + number(1) + number(1) + b"ttQ")
    count = count.replace(b"tQ" + number(1), b"tQ" + number(0))
    data = named(weight=weight, count=count)[:-2] + b"U\x04typec__builtin__\nunicode\nu."
    content = read(legacy(tmp_path / "a.pth.tar", data, numbers))
    np.testing.assert_array_equal(content["weight"], [[0, 1, 2], [3, 4, 5]])
    assert content["count"] == 5 and content["type"].path == "__builtin__.unicode"
    whole = (tmp_path / "a.pth.tar").read_bytes()
    for wrong in (whole[:-3], whole[:200], whole.replace(b"__builtin__\nunicode", b"__builtin__\neval"),
                  whole.replace(b"FloatStorage", b"EvilyStorage"),
                  whole.replace((6).to_bytes(8, "little"), (2 ** 60).to_bytes(8, "little"))):
        (tmp_path / "bad.pth.tar").write_bytes(wrong)
        with refused(ContentError, tmp_path / "bad.pth.tar"):
            read(tmp_path / "bad.pth.tar")


def test_archives_and_folders_name_what_is_in_them(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"x")
    (tmp_path / "readme.md").write_bytes(b"x")
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as file:
        file.write(tmp_path / "a.bin", "exp/model.pth")
    with tarfile.open(tmp_path / "c.tar", "w") as file:
        file.add(tmp_path / "a.bin", "exp/last.ckpt")
    (tmp_path / "in").mkdir()
    (tmp_path / "a.bin").rename(tmp_path / "in/a.bin")
    for name, found in (("b.zip", "exp/model.pth"), ("c.tar", "exp/last.ckpt"), ("in", "a.bin")):
        with refused(ContentError, tmp_path / name, found):
            read(tmp_path / name)
    with tarfile.open(tmp_path / "old.pt", "w") as file:
        for name in ("sys_info", "pickle", "tensors", "storages"):
            file.addfile(tarfile.TarInfo(name), io.BytesIO())
    with refused(ContentError, tmp_path / "old.pt", "weights_only=False", "torch.load"):
        read(tmp_path / "old.pt")


def test_what_is_no_checkpoint_is_refused(tmp_path):
    weights = named(x=tensor("Float", "0", 12, 0, (3, 4), (4, 1)))
    good = archive(tmp_path / "good.pt", weights, {"0": bytes(48)}).read_bytes()
    bomb = archive(tmp_path / "bomb.pt", named(), {"0": bytes(10 ** 7)}, zipfile.ZIP_DEFLATED)
    script = archive(tmp_path / "script.pt", named(), **{"constants.pkl": b"."}).read_bytes()
    cases = {"old.pt": (MAGIC + b"\x80\x02M\xe9\x03.", "damaged"), "empty.pt": (b"", "0 bytes"),
             "pointer.pt": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "git lfs pull"),
             "page.pt": (b"\n<!DOCTYPE html><html>Sign in</html>", "web page"), "gz.pt": (b"\x1f\x8b\x08", "unpack"),
             "bare.pt": (pickle.dumps({"w": 1}), "pickle"), "script.pt": (script, "TorchScript"),
             "text.pt": (b"weights", "PyTorch checkpoint"), "cut.pt": (good[:-30], "damaged"),
             "flipped.pt": (good.replace(bytes(48), bytes(47) + b"\1"), "damaged"),
             "bomb.pt": (bomb.read_bytes(), "compressed"),
             "lacks.pt": (archive(tmp_path / "lacks.pt", named(x=tensor("Float", "9", 1, 0, (), ()))).read_bytes(),
                          "data/9"),
             "early.pt": (archive(tmp_path / "early.pt", named()[:-1]).read_bytes(), "damaged"),
             "stack.pt": (archive(tmp_path / "stack.pt", b"\x80\x02tu0R.").read_bytes(), "damaged at byte 2"),
             "memo.pt": (archive(tmp_path / "memo.pt", b"\x80\x02h\5.").read_bytes(), "damaged at byte 2"),
             "key.pt": (archive(tmp_path / "key.pt", b"\x80\x02}))s.").read_bytes(), "tuple")}
    for name, (content, fact) in cases.items():
        (tmp_path / name).write_bytes(content)
        with refused(ContentError, tmp_path / name, fact):
            read(tmp_path / name)
    with zipfile.ZipFile(tmp_path / "plain.zip", "w") as file:
        file.writestr("readme.txt", "x")
    for path, kind, fact in ((tmp_path / "plain.zip", ContentError, "zip"),
                             (tmp_path / "none.pt", NotFoundError, "No such file or directory"),
                             (tmp_path, ContentError, "folder")):
        with refused(kind, path, fact):
            read(path)


def test_written_file_reads_back(tmp_path):
    """Containers, numbers, text and arrays; tensors begin where they can be mapped; nothing is left where it fails."""
    value = {"none": None, "flags": [True, False], "numbers": (-1, 0, 255, 2 ** 70, -2 ** 31, 1.5), "text": "ü\n",
             "nested": {"w": np.arange(6, dtype=np.float32).reshape(2, 3).T, "n": np.array(3), "e": np.zeros((0, 2))}}
    write(tmp_path / "a" / "w.pt", value)
    content = read(tmp_path / "a" / "w.pt")
    assert {name: item for name, item in content.items() if name != "nested"} == {
        name: item for name, item in value.items() if name != "nested"}
    for name, array in value["nested"].items():
        assert content["nested"][name].dtype == array.dtype
        np.testing.assert_array_equal(content["nested"][name], array)
    with zipfile.ZipFile(tmp_path / "a" / "w.pt") as file:
        for entry in file.infolist():
            with open(tmp_path / "a" / "w.pt", "rb") as raw:
                raw.seek(entry.header_offset)
                header = raw.read(30)
            name, extra = (int.from_bytes(header[first:first + 2], "little") for first in (26, 28))
            assert (entry.header_offset + 30 + name + extra) % 64 == 0
    with refused(OutputError, tmp_path / "a" / "w.pt" / "below.pt"):
        write(tmp_path / "a" / "w.pt" / "below.pt", value)


def compare(actual, expected, torch):
    if isinstance(expected, torch.Tensor):
        array = (expected.float() if expected.dtype == torch.bfloat16 else expected).detach().numpy()
        assert actual.dtype == array.dtype and actual.shape == array.shape
        np.testing.assert_array_equal(actual, array)
    elif isinstance(expected, (dict, list, tuple)):
        pairs = [(actual[key], value) for key, value in expected.items()] if isinstance(expected, dict) else zip(
            actual, expected, strict=True)
        assert len(actual) == len(expected)
        for item, other in pairs:
            compare(item, other, torch)
    else:
        assert actual == expected


def test_equals_torch_load(tmp_path):
    torch = pytest.importorskip("torch")
    base = torch.arange(24.)
    content = {"turned": base.view(4, 6).t(), "cut": base[3:9], "every second": base[::2], "scalar": torch.tensor(2.5),
               "nothing": torch.zeros(0, 3), "parameter": torch.nn.Parameter(torch.ones(2, 2)),
               "size": torch.Size([1, 2]),
               "types": [torch.tensor([0, 1, 1], dtype=kind) for kind in (
                   torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.int32, torch.int16, torch.int8,
                   torch.uint8, torch.bool)], "others": (1, -2 ** 40, 2 ** 80, 1e-9, None, True, "ä"),
               "layers": torch.nn.Sequential(torch.nn.Conv1d(2, 3, 4), torch.nn.BatchNorm1d(3)).state_dict()}
    for protocol in (2, 4):
        torch.save(content, tmp_path / "a.pt", pickle_protocol=protocol)
        # weights_only knows protocol 2, which torch.save writes by default
        compare(read(tmp_path / "a.pt"), torch.load(tmp_path / "a.pt", weights_only=protocol == 2), torch)
    write(tmp_path / "b.pt", read(tmp_path / "a.pt"))
    compare(read(tmp_path / "b.pt"), torch.load(tmp_path / "b.pt", weights_only=True), torch)
    compare(read(tmp_path / "b.pt"), torch.load(tmp_path / "b.pt", weights_only=True, mmap=True), torch)
    torch.save(content, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    compare(read(tmp_path / "old.pt"), torch.load(tmp_path / "old.pt", weights_only=True), torch)


def test_golden_files_equal_torch_load():
    torch = pytest.importorskip("torch")
    folder = golden("speechbrain_ecapa.pt")[0].parent
    files = [path for path in Path(folder).iterdir() if path.suffix in (".pt", ".ckpt")]
    for path in files:      # TorchVersion, in what asteroid serialises, is a text to us; weights_only refuses it
        compare(read(path), torch.load(path, weights_only="serialized" not in path.name), torch)
    assert len(files) == 10
