"""When the CPU kernels are not used: CPU_OPS, another MindSpore, a machine that cannot have them. One line says why."""
import functools
import re
import sys
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from helpers.documents import ROOT
from helpers.errors import refused
from mindspore import Tensor, nn

from utils import cpu_ops
from utils.cpu_ops import build
from utils.errors import SettingError

STOCK = ": going on with MindSpore's own operators, several times slower\n"


@pytest.fixture(autouse=True)
def at_the_start(monkeypatch):
    """As in a process in which nothing has asked for the kernels yet."""
    monkeypatch.delenv(build.SWITCH, raising=False)
    library = functools.cache(build.library.__wrapped__)
    for module in (build, cpu_ops):
        monkeypatch.setattr(module, "library", library)


@pytest.fixture
def nothing_compiles(monkeypatch):
    """Neither a process is started nor a library opened, and what knows MindSpore's classes is not imported."""
    def never(*_args, **_more):
        raise AssertionError("compiled")

    monkeypatch.setattr(build, "run", never)
    monkeypatch.setattr(build, "load", never)
    monkeypatch.setitem(sys.modules, "utils.cpu_ops.layers", None)      # importing it would be an ImportError


def is_fast():
    """Whether a network gets fast layers."""
    return type(cpu_ops.fast(nn.Conv1d(2, 2, 1))) is not nn.Conv1d


def test_switched_off_all_layers_stay_stock(monkeypatch, capsys, nothing_compiles):
    monkeypatch.setenv("CPU_OPS", "0")
    assert not is_fast() and not is_fast()
    assert capsys.readouterr().err == f"CPU_OPS=0{STOCK}"


def test_another_mindspore_than_the_tested_ones_keeps_stock_layers(monkeypatch, capsys, nothing_compiles):
    monkeypatch.setattr(ms, "__version__", "2.99.1")
    assert not is_fast() and not is_fast()
    printed = capsys.readouterr().err
    assert printed.endswith(STOCK) and printed.count("\n") == 1
    assert {"2.99.1", *build.TESTED, "CPU_OPS=1"} <= set(re.findall(r"CPU_OPS=1|\d+\.\d+\.\d+", printed))


def test_the_kernels_can_be_taken_with_any_version(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(ms, "__version__", "2.99.1")
    monkeypatch.setattr(build, "CACHE", tmp_path)
    monkeypatch.setattr(build, "SOURCES", only(tmp_path, "int DoublesNothing() { return 0; }\n"))
    monkeypatch.setenv("CPU_OPS", "1")
    assert is_fast()
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1 and "compiling" in printed.err and not printed.out     # it takes a while
    cpu_ops.library.cache_clear()
    assert is_fast() and capsys.readouterr() == ("", "")


@pytest.mark.parametrize("value", ["2", "off", "true", " 0"])
def test_any_other_value_is_a_mistake(monkeypatch, value, nothing_compiles):
    monkeypatch.setenv("CPU_OPS", value)
    for _ in range(2):
        with refused(SettingError, "CPU_OPS", repr(value)):
            is_fast()


def test_stock_layers_compute_the_same(monkeypatch):
    x = Tensor(np.random.default_rng(0).standard_normal((2, 3, 9)).astype(np.float32))
    layer = nn.Conv1d(3, 4, 5, pad_mode="pad", padding=2, has_bias=True).set_train(False)
    quick = nn.Conv1d(3, 4, 5, pad_mode="pad", padding=2, has_bias=True).set_train(False)
    ms.load_param_into_net(quick, {weight.name: weight for weight in layer.get_parameters()})
    with monkeypatch.context() as patch:
        patch.setenv("CPU_OPS", "0")
        assert type(cpu_ops.fast(layer)) is nn.Conv1d
    cpu_ops.library.cache_clear()
    assert type(cpu_ops.fast(quick)) is not nn.Conv1d
    np.testing.assert_allclose(quick(x).asnumpy(), layer(x).asnumpy(), rtol=0, atol=1e-6)


def only(folder, source):
    """A folder with that source alone."""
    (folder / "kernels").mkdir()
    (folder / "kernels" / "one.cc").write_text(source)
    return folder / "kernels"



def test_a_function_that_onednn_lacks_is_found_before_a_run(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(build, "CACHE", tmp_path)
    monkeypatch.setattr(build, "SOURCES", only(tmp_path, 'extern "C" int dnnl_no_such();\n'
                                                         "int Call() { return dnnl_no_such(); }\n"))
    assert not is_fast() and not is_fast()
    printed = capsys.readouterr().err
    assert "dnnl_no_such" in printed and printed.endswith(STOCK) and printed.count(STOCK) == 1
    assert list(tmp_path.glob("cpu_ops-*")) == []


def test_a_mindspore_without_onednn(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(ms, "__file__", str(tmp_path / "__init__.py"))
    assert not is_fast()
    printed = capsys.readouterr().err
    assert "libdnnl" in printed and printed.endswith(STOCK) and printed.count("\n") == 1


def test_links_lead_to_the_same_operators(monkeypatch, tmp_path):
    """As where a folder of packages is linked into another environment: nothing is compiled again."""
    (tmp_path / "linked").symlink_to(Path(ms.__file__).parent)
    path = build.onednn()
    monkeypatch.setattr(ms, "__file__", str(tmp_path / "linked" / "__init__.py"))
    assert build.onednn() == path and path.is_file()


def test_a_library_that_cannot_be_loaded(monkeypatch, capsys, tmp_path):
    """Such as one whose file was cut."""
    monkeypatch.setattr(build, "CACHE", tmp_path)
    monkeypatch.setattr(build, "fingerprint", lambda command: "cut")
    (tmp_path / "cpu_ops-cut.so").write_bytes(b"\x7fELF")
    assert not is_fast() and not is_fast()
    printed = capsys.readouterr().err
    assert str(tmp_path / "cpu_ops-cut.so") in printed and printed.endswith(STOCK) and printed.count("\n") == 1


def test_a_machine_that_does_not_describe_its_processor(monkeypatch, capsys):
    """No /proc, as outside of Linux."""
    def missing(command):
        raise FileNotFoundError(2, "No such file or directory", "/proc/cpuinfo")

    monkeypatch.setattr(build, "fingerprint", missing)
    assert not is_fast()
    assert capsys.readouterr().err == f"/proc/cpuinfo: No such file or directory{STOCK}"


def test_the_required_mindspore_is_a_tested_one():
    required = re.search(r"^mindspore==(\S+)", (ROOT / "requirements.txt").read_text(encoding="utf-8"), re.M)[1]
    assert required in build.TESTED
