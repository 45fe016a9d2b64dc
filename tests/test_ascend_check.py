"""The check that an Ascend can compile the graphs: what it reads, what it calls bad, and that it runs on this CPU."""
import dataclasses
import importlib
import os
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest
from helpers import ascend_bad
from helpers.documents import ROOT, table
from helpers.errors import assert_refusal, refused

from utils.ascend_check import __main__ as command
from utils.ascend_check import report, runs, stubs
from utils.ascend_check.elf import read_library, words
from utils.ascend_check.graphs import ALONE, MSRUN, RANKS, TABLE
from utils.ascend_check.log import Record, mark, read_log
from utils.ascend_check.runs import Task
from utils.errors import ContentError, NotFoundError, OutputError, SettingError, UnsupportedError
from utils.launching.rank_table import violations

MODELS = ("conv_tasnet", "deepspeech2", "ecapatdnn")
TESTED = stubs.TESTED


@pytest.fixture
def library(tmp_path):
    """A shared library with symbols of every sort."""
    (tmp_path / "own.cc").write_text("""
#include <cmath>
#include <cstdio>
int foreign(int);
extern int data_of_others;
__attribute__((weak)) int perhaps(int);
extern "C" int own(int x) {
  std::puts("aclnnSomething");
  std::puts("/lib64/libother.so");
  return foreign(x) + data_of_others + int(std::cos(x)) + (perhaps ? perhaps(x) : 0);
}
""")
    path = tmp_path / "libown.so"
    subprocess.run(["g++", "-shared", "-fPIC", "-O0", "-o", path, tmp_path / "own.cc"], check=True)
    return path


def test_symbols_of_a_library(library):
    """Not those of the system, which have versions, and not weak ones."""
    symbols = read_library(library)
    assert "own" in symbols.defined and "_Z7foreigni" not in symbols.defined
    assert symbols.undefined == {"_Z7foreigni", "data_of_others"}
    assert "libc.so.6" in symbols.needed
    assert {"aclnnSomething", "/lib64/libother.so"} <= words(library)


def test_what_is_no_library_is_refused(tmp_path):
    (tmp_path / "x.so").write_bytes(b"\x7fELF\x01 thirty-two bits")
    with refused(ContentError, tmp_path / "x.so", "ELF"):
        read_library(tmp_path / "x.so")


def test_stubs_are_what_the_wheel_leaves_undefined():
    """Of each sort one: linked, looked up by name, an aclnn function and its second; and nothing that is there."""
    symbols, libraries = stubs.missing(stubs.mindspore_folder() / "lib")
    assert {"_ZN2ge12GEInitializeERKSt3mapISsSsSt4lessISsESaISt4pairIKSsSsEEE", "aclrtMalloc", "HcclGetRootInfo",
            "aclnnAbs", "aclnnAbsGetWorkspaceSize", "InitHugeMemThreadLocal"} <= set(symbols)
    assert {"libascendcl.so", "libopapi.so", "libhccl.so", "libge_runner.so"} <= set(libraries)
    assert not {name for name in symbols if name.startswith(("Py", "_ZNSs", "_ZN9mindspore"))}
    assert not {name for name in libraries if "mindspore" in name or name in ("libc.so.6", "libm.so.6")}


def test_source_of_stubs_knows_functions_from_data():
    text = stubs.source(["_ZTIN2ge8OperatorE", "_ZNK2ge8Operator7GetNameEv", "aclInit"])
    assert 'data0[256] __asm__("_ZTIN2ge8OperatorE")' in text
    assert 'f1(void* place) { new (place) std::string; return place; }' in text
    assert 'f2(void* place) { return nullptr; }' in text


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(stubs, "CACHE", tmp_path / "cache")
    return tmp_path / "cache"


def test_another_process_may_be_first(cache, monkeypatch):
    """Both build; the folder of the first stays, whole, and nothing is left beside it."""
    def build(compiler, wheel, folder):
        for place, text in ((folder, "second"), (cache / folder.name, "first")):
            place.mkdir(parents=True, exist_ok=True)
            (place / "file").write_text(text)

    monkeypatch.setattr(stubs, "build", build)
    folder = stubs.stubs()
    assert (folder / "file").read_text() == "first" and list(cache.iterdir()) == [folder]


def test_where_it_cannot_run_it_is_refused(cache, monkeypatch, tmp_path):
    cases = [
        (lambda patch: patch.setattr(stubs.metadata, "version", lambda name: "2.99.1"),
         UnsupportedError, ["MindSpore 2.99.1", TESTED]),
        (lambda patch: patch.setattr(stubs.platform, "machine", lambda: "aarch64"),
         UnsupportedError, ["Linux on aarch64", "x86_64"]),
        (lambda patch: patch.setenv("CXX", "no-such-compiler"), UnsupportedError, ["g++", "CXX"]),
        (lambda patch: patch.setenv("CXX", "/bin/false"), UnsupportedError, ["/bin/false", "libcann.so"]),
        (lambda patch: patch.setattr(stubs, "CACHE", tmp_path / "file" / "cache"),
         OutputError, [tmp_path / "file" / "cache", "XDG_CACHE_HOME"])]
    (tmp_path / "file").touch()
    monkeypatch.setattr(stubs, "missing", lambda wheel: (["aclInit"], []))
    for change, kind, facts in cases:
        with monkeypatch.context() as patch:
            change(patch)
            with refused(kind, *facts):
                stubs.stubs()
    assert not list(cache.glob("*"))


def test_no_mindspore_at_all_is_said_in_one_line(tmp_path):
    """By a Python that has none of our packages."""
    done = subprocess.run([sys.executable, "-S", "-m", "utils.ascend_check"], cwd=ROOT, capture_output=True, text=True,
                          env=os.environ | {"PYTHONPATH": ""}, check=False)
    assert_refusal(done.returncode, done.stderr, "MindSpore none", TESTED)
    assert done.stderr.count("\n") == 1


LOG = f"""
[INFO] DEVICE(1,7f,python):t [a.cc:175] GenerateKernelMod] kernel opname:Identity, kernel type:acl_kernel
{mark("begin", "one")}
[INFO] DEVICE(1,7f,python):t [a.cc:175] GenerateKernelMod] kernel opname:Identity, kernel type:acl_kernel
{mark("compile", "one")}
[INFO] DEVICE(1,7f,python):t [a.cc:175] GenerateKernelMod] kernel opname:Cast, kernel type:opapi_kernel
[INFO] DEVICE(1,7f,python):t [a.cc:175] GenerateKernelMod] kernel opname:Cast, kernel type:opapi_kernel
[INFO] DEVICE(1,7f,python):t [a.cc:175] GenerateKernelMod] kernel opname:Conv2D, kernel type:acl_kernel
[INFO] DEVICE(1,7f,python):t [a.cc:175] GenerateKernelMod] kernel opname:Reshape, kernel type:rt_kernel
[INFO] DEVICE(1,7f,python):t [k.cc:804] SetKernelInfoWithMsg] Default/x-Net/Shape-op0 kernel attr info: \
input[Tensor Float32 DefaultFormat,] output[Tuple Int64 DefaultFormat,]
[INFO] DEVICE(1,7f,python):t [k.cc:804] SetKernelInfoWithMsg] Default/LSTM-op12 kernel attr info: \
input[Tensor Float32 DefaultFormat,] output[Tensor Float32 DefaultFormat,]
[INFO] SESSION(1,7f,python):t [c.cc:42] Process] primitive target does not match backend: Ascend, primitive_target: \
CPU, node name: Default/PyExecute-op0
[INFO] VM(1,7f,python):t [b.cc:185] Build] Backend build graph, backend name: , backend type: 0, backend graph id: 0
{mark("end", "one")}
{mark("begin", "two, of another kind")}
{mark("compile", "two, of another kind")}
[INFO] VM(1,7f,python):t [b.cc:295] GetOrCreateBackend] The created backend type: 1
{mark("error", "two, of another kind", "Traceback" + chr(10) + "ValueError: no")}
{mark("begin", "three")}
"""


def test_log_is_read_graph_by_graph():
    """What is built before a graph is compiled is not the graph's."""
    records = read_log(LOG.splitlines(keepends=True))
    assert list(records) == ["one", "two, of another kind", "three"]
    first, two, three = records.values()
    assert first.kernels == {"opapi_kernel": Counter(Cast=2), "acl_kernel": Counter(Conv2D=1),
                             "rt_kernel": Counter(Reshape=1)}
    assert first.host == Counter(Shape=1, LSTM=1, PyExecute=1) and first.tensors == Counter(LSTM=1)
    assert first.backends == {"0"} and first.ended and not first.error
    assert two.backends == {"1"} and not two.ended and two.error.strip() == "Traceback\nValueError: no"
    assert not three.ended and not three.error and not three.kernels


def test_verdicts():
    good = {"kernels": {"opapi_kernel": Counter(Mul=1)}, "backends": {"0"}, "ended": True}
    shape = Counter(Shape=2)
    cases = [
        (good, "good"),
        (good | {"host": shape}, "good"),
        (good | {"host": shape + Counter(PyExecute=2)}, "calls Python: PyExecute 2"),
        (good | {"host": Counter(LSTM=1), "tensors": Counter(LSTM=1)}, "computes tensors on the host: LSTM"),
        (good | {"kernels": {"acl_kernel": Counter(Lgamma=1)}}, "has operators that MindSpore documents for no Ascend: "
                                                               "Lgamma"),
        (good | {"kernels": {"acl_kernel": Counter(Conv2D=1, BNTrainingUpdate=1, Conv2DBackpropInput=1)}}, "good"),
        (good | {"kernels": {}}, "compiles nothing")]
    for values, expected in cases:
        assert report.verdict(Record(**values)) == expected
    both = report.verdict(Record(backends={"1"}, error="Traceback\nValueError: no\nmore"))
    assert both.startswith("takes the GE backend") and both.endswith("does not compile: ValueError: no")


def test_complaint_names_the_place_in_our_code():
    error = f"""Traceback (most recent call last):
  File "{ROOT}/utils/ascend_check/worker.py", line 67, in compile_graph
TypeError: For primitive[Conv2D], a
 sentence.
# 0 In file {ROOT}/ecapatdnn/src/model.py:66, 15~25
# 1 In file {ROOT}/.venv/lib/python3.11/site-packages/mindspore/nn/cell.py:7, 1~2
"""
    assert report.complaint(error) == "TypeError: For primitive[Conv2D], a (ecapatdnn/src/model.py:66)"
    assert report.complaint("the process died:\nSegmentation fault") == "Segmentation fault"


def test_table_for_documents():
    record = Record({"opapi_kernel": Counter(Mul=3), "acl_kernel": Counter(Conv2D=2), "rt_kernel": Counter(Reshape=1),
                     "hccl_kernel": Counter(AllReduce=4)}, Counter(Shape=2, ScalarMul=1), backends={"0"}, ended=True)
    other = dataclasses.replace(record, host=Counter(Shape=2))
    rows = [report.row("a_model", name, chip, graph_record) for name, chip, graph_record in (
        ("train", "910a", record), ("train", "910b", record), ("export", "910a", record), ("export", "910b", other))]
    assert report.markdown(rows, "command").splitlines()[-3:] == [
        "| a_model | train | 910A, 910B | 3 | 2 | 5 | ScalarMul, Shape 2 | kernel by kernel | good |",
        "| a_model | export | 910A | 3 | 2 | 5 | ScalarMul, Shape 2 | kernel by kernel | good |",
        "| a_model | export | 910B | 3 | 2 | 5 | Shape 2 | kernel by kernel | good |"]
    assert report.line(rows[0], [7, 5, 4, 1, 1, 1, 9, 16], is_red=True) == \
        f"a_model  train  910A  3  2  5  ScalarMu…  kernel by kernel  {report.RED}good{report.PLAIN}"


@pytest.mark.parametrize("model", MODELS)
def test_graphs_of_a_model(model):
    """Each is of a kind that a user's own network has too, but for speaker identification, another program's."""
    module = importlib.import_module(command.module_of(model))
    kinds = {name.split(",")[0] for name in module.GRAPHS}
    assert kinds - {"speaker_id"} == {*module.KINDS, "distributed"}
    assert {graph.start for graph in module.GRAPHS.values()} == {ALONE, TABLE, MSRUN}
    levels = {graph.config.amp_level for name, graph in module.GRAPHS.items() if name.startswith("train")}
    assert levels >= {"O0", "O2"} and levels & {"", "O1"}
    assert model in command.models()


def test_table_of_the_documents_holds_every_graph():
    rows = table((ROOT / "docs" / "ascend_check_table.md").read_text(encoding="utf-8"), "model")
    shown = sorted((row[0], row[1], chip.lower()) for row in rows for chip in row[2].split(", "))
    assert shown == sorted((model, name, chip) for model in MODELS for chip in command.CHIPS
                           for name in importlib.import_module(command.module_of(model)).GRAPHS)
    assert {row[-1] for row in rows} == {"good"} and {row[-2] for row in rows} == {"kernel by kernel"}


def test_own_config_takes_the_place_of_the_small_networks(tmp_path):
    (tmp_path / "own.yaml").write_text("causal: true\nnorm: cgLN\nN: 40\n")
    module = importlib.import_module("conv_tasnet.src.ascend_graphs")
    graphs = runs.graphs_of(module, str(tmp_path / "own.yaml"))
    assert set(graphs) == {*module.KINDS, "distributed, rank table", "distributed, msrun"}
    assert {graph.config for graph in graphs.values()} == {dataclasses.replace(module.CONFIG(), causal=True,
                                                                               norm="cgLN", N=40)}
    (tmp_path / "own.yaml").write_text("cuasal: true\n")
    with refused(SettingError, tmp_path / "own.yaml", "cuasal", "causal"):
        runs.graphs_of(module, str(tmp_path / "own.yaml"))


def test_tasks_hold_every_graph_once():
    module = importlib.import_module("ecapatdnn.src.ascend_graphs")
    tasks = runs.make_tasks(module.__name__, module.GRAPHS, command.CHIPS)
    for chip in command.CHIPS:
        names = [(name, task.start) for task in tasks if task.chip == chip for name in task.names]
        assert sorted(names) == sorted((name, graph.start) for name, graph in module.GRAPHS.items())
    assert max(len(task.names) for task in tasks) <= runs.BATCH


def test_command_line_is_checked(capsys):
    for arguments, facts in [(["--model", "ecapa"], ["model", "'ecapa'", "ecapatdnn"]),
                             (["--soc", "310"], ["soc", "'310'", "910b"]),
                             (["--model", "ecapatdnn", "--graph", "trian"], ["graph", "'trian'", "train", "--list"]),
                             (["--config", "x.yaml"], ["config", "--model"]), (["--jobs", "0"], ["jobs", 0, 1])]:
        with refused(SettingError, *facts):
            command.main(arguments)
    with refused(NotFoundError, "no.yaml"):
        command.main(["--model", "ecapatdnn", "--config", "no.yaml"])
    command.main(["--model", "deepspeech2", "--graph", "train, GRU", "streaming", "--list"])
    assert capsys.readouterr().out.splitlines() == [
        "deepspeech2: train, GRU", "deepspeech2: streaming, LSTM", "deepspeech2: streaming, GRU"]


def test_table_of_the_check_is_a_valid_one():
    assert violations(runs.rank_table(RANKS)) == []


def test_a_process_that_dies_is_followed_by_another(monkeypatch):
    """Its graph is bad, with the last it has said; those after it are compiled all the same."""
    asked = []

    def run_process(task, folder, stop):
        asked.append(task.names)
        if task.names[0] == "c":
            return {}, "exit code 1"        # before it came to any
        records = {"a": Record(ended=True), "b": Record()} if task.names[0] == "a" else {}
        return records, "Segmentation fault"

    monkeypatch.setattr(runs, "run_process", run_process)
    found = {}
    runs.run_task(Task("module", ("a", "b", "c", "d"), "910a"), Path(), found.__setitem__, threading.Event())
    assert list(found) == ["a", "b", "c", "d"] and asked == [("a", "b", "c", "d"), ("c", "d"), ("d",)]
    assert not found["a"].error and "Segmentation fault" in found["b"].error and "exit code 1" in found["c"].error


def test_what_has_been_started_ends_with_the_check(monkeypatch, tmp_path):
    """And nothing more is started, when one task fails in a way that is a defect of ours."""
    started, ended = [], []

    def show(task, name, record):
        raise RuntimeError("a defect")

    def run_process(task, folder, stop):
        started.append(task.names)
        if task.names == ("quick",):
            return {"quick": Record(ended=True)}, ""
        runs._finish(["sleep", "1000"], tmp_path, os.environ, stop)
        ended.append(task.names)
        return {}, ""

    monkeypatch.setattr(runs, "run_process", run_process)
    tasks = [Task("module", (name,), "910a") for name in ("slow", "quick", *["never"] * 20)]
    with pytest.raises(RuntimeError, match="a defect"):
        runs.run_tasks(tasks, tmp_path, show, 2)
    assert ("slow",) in started and len(started) < 4
    assert sorted(ended) == sorted(names for names in started if names != ("quick",))


def test_bad_graphs_are_found(monkeypatch):
    """Those of helpers/ascend_bad.py, for a 910A; two processes, as one of them stops the first."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    verdicts = {}
    runs.run_task(Task("helpers.ascend_bad", tuple(ascend_bad.GRAPHS), "910a"), stubs.stubs(),
                  lambda name, record: verdicts.__setitem__(name, report.verdict(record)), threading.Event())
    expected = {"good": "good", "good after that": "good", "calls Python": "calls Python: PyExecute 2",
                "the CPU's LSTM": "computes tensors on the host: LSTM",
                "least squares": "computes tensors on the host: Lstsq", "nothing": "compiles nothing",
                "absent": "no such graph",
                "for no Ascend": "has operators that MindSpore documents for no Ascend: Lgamma",
                "wrong shapes": "does not compile: ValueError: For primitive[LSTM]",
                "graph engine": "takes the GE backend"}
    assert verdicts.keys() == expected.keys()
    assert {name: text for name, text in verdicts.items() if not text.startswith(expected[name])} == {}


def check(*arguments):
    """What the command prints, and its exit code."""
    done = subprocess.run([sys.executable, "-m", "utils.ascend_check", "--jobs", "1", *arguments], cwd=ROOT,
                          capture_output=True, text=True, check=False)
    return done.stdout + done.stderr, done.returncode


@pytest.mark.parametrize("model, chip, graphs", [
    ("conv_tasnet", "910a", ("evaluation, gLN",)),      # any length
    pytest.param("conv_tasnet", "910a", ("train, BN",), marks=pytest.mark.slow),        # what BatchNorm has of its own
    pytest.param("ecapatdnn", "910b", ("train, O1",), marks=pytest.mark.slow),
    pytest.param("deepspeech2", "910b", ("distributed, rank table",), marks=pytest.mark.slow)])
def test_graphs_compile(model, chip, graphs, tmp_path):
    output, code = check("--model", model, "--soc", chip, "--graph", *graphs, "--markdown", str(tmp_path / "table.md"))
    count = len(graphs)
    assert code == 0 and output.splitlines()[-1] == f"{count} graphs, {count} good, 0 bad", output
    assert (tmp_path / "table.md").read_text().count("| kernel by kernel | good |") == count


@pytest.mark.slow
def test_own_network_that_no_ascend_takes_is_bad(tmp_path):
    (tmp_path / "own.yaml").write_text("rnn_type: gru\nhidden_size: 40\nhidden_layers: 1\n")
    output, code = check("--model", "deepspeech2", "--soc", "910b", "--graph", "streaming", "evaluation", "--config",
                         os.path.relpath(tmp_path / "own.yaml", ROOT))
    assert code == 1 and output.splitlines()[-1] == "1 graphs, 0 good, 1 bad", output
    assert "hidden_size: found 40" in output and "no such graph" in output


@pytest.mark.slow
def test_every_graph_compiles():
    """make ascend-check."""
    output, code = check()
    assert code == 0, output
