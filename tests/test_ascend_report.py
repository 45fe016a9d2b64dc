"""ascend_report.sh: one text file of what a machine makes of this repository; what an Ascend needs beside it."""
import importlib.metadata
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.documents import ROOT
from helpers.errors import assert_refusal, refused
from packaging.requirements import Requirement

from conv_tasnet.src.config import Config
from conv_tasnet.src.mixtures import load_mixture, read_mixtures
from deepspeech2.src.manifest import read_manifest
from ecapatdnn.src.metric import read_trials
from utils import ascend_report
from utils.corpora.lists import read_train_list
from utils.errors import MismatchError, NotFoundError

MODELS = ("ecapatdnn", "conv_tasnet", "deepspeech2")


def report(*arguments, tree=ROOT, **environment):
    """(exit code, what it printed) of ascend_report.sh; of that in the copy `tree`, where it builds the runner."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"    # a copy of the tree has no .venv
    done = subprocess.run(["bash", tree / "ascend_report.sh", *map(str, arguments)], text=True, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          env=os.environ | {"PATH": path} | environment)
    return done.returncode, done.stdout


def steps(text):
    """{step: its command} of a dry run."""
    return dict(re.findall(r"^(.+?): \(cd \S+ && (.*)\)$", text, re.M))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """The report's corpus."""
    folder = tmp_path_factory.mktemp("report") / "corpus"
    ascend_report.corpus(folder)
    return folder


@pytest.fixture
def failing_python(tmp_path):
    """A Python that fails at every eval.py with 150 lines, else does nothing; but it cleans as ours does."""
    path = tmp_path / "bin" / "python"
    path.parent.mkdir()
    path.write_text(f"""#!/bin/bash
case "$*" in
  *ascend_report*clean) exec {sys.executable} "$@" ;;
  */eval.py*) for i in $(seq 150); do echo "line $i in $PWD"; done; exit 3 ;;
esac
echo "did $2"
""")
    path.chmod(0o755)
    return path


def test_dry_run_shows_a_whole_chain_for_every_model():
    code, output = report("--dry_run", DEVICE_TARGET="Ascend")
    assert code == 0
    commands = steps(output)
    chain = ("train", "train in float16", "evaluate", "evaluate on a CPU", "evaluation, difference", "export",
             "export, runner", "export, gears", "build", "inputs, runner", "the graph on a CPU", "C++, runner",
             "C++, runner, difference", "convert, runner", "C++, runner_converted", "C++, runner_converted, difference",
             "inputs, gears", "convert, gears", "C++, gears_converted", "C++, gears_converted, difference")
    assert list(commands) == ["versions", "MindSpore's own check", "corpus",
                              *(f"{model}: {name}" for model in MODELS for name in chain)]
    assert all("--device_target Ascend" in commands[f"{model}: C++, runner"] for model in MODELS)
    assert all("--device_target CPU" in commands[f"{model}: evaluate on a CPU"] for model in MODELS)


def test_dry_run_on_a_cpu_converts_nothing_and_several_devices_are_started_by_msrun():
    code, output = report("--dry_run", "--devices", 2, "ecapatdnn", DEVICE_TARGET="CPU", MS_LITE_HOME="")
    assert code == 0 and "converter_lite" not in output and "conv_tasnet" not in output
    command = steps(output)["ecapatdnn: train on 2 devices"]
    assert command.startswith("msrun --worker_num=2 ") and command.endswith("--distribute true")


@pytest.mark.parametrize("lite, runtime", [("mindspore-lite-2.10.0-linux-aarch64", "ascend"),
                                           ("mindspore-lite-2.0.0-linux-x64", "lite2.0-ascend")])
def test_the_graph_is_written_for_the_runtime_that_is_there(lite, runtime):
    commands = steps(report("--dry_run", "deepspeech2", DEVICE_TARGET="Ascend", MS_LITE_HOME=f"/opt/{lite}")[1])
    for graph in ("runner", "gears"):
        assert f"--runtime {runtime} " in commands[f"deepspeech2: export, {graph}"]
    assert f"/opt/{lite}/tools/converter/converter/converter_lite" in commands["deepspeech2: convert, gears"]


@pytest.mark.parametrize("arguments", [["--devices", "0"], ["--devices"], ["tacotron"], ["--dryrun"]])
def test_a_mistake_gets_one_line(arguments):
    code, output = report(*arguments)
    assert_refusal(code, output)
    assert output.count("\n") == 1


def test_flags_are_those_of_the_programs():
    from helpers.commands import flags_of, runner_flags

    for name, command in steps(report("--dry_run", DEVICE_TARGET="Ascend")[1]).items():
        if match := re.search(r"/(\w+)/(?:train|eval|export|preprocess)\.py", command):
            known = flags_of(match[1])
        elif "/build/main " in command:
            known = runner_flags()
        else:
            continue
        assert set(re.findall(r" --(\w+)", command)) <= known, name


def test_a_failing_step_is_written_down_and_the_next_begins(tmp_path, tree, failing_python):
    output = tmp_path / "found.txt"
    code, printed = report("--output", output, "deepspeech2", tree=tree, PYTHON=str(failing_python),
                           DEVICE_TARGET="CPU")
    text = output.read_text()
    assert code == 1 and "eval.py" in text
    assert re.search(r"^deepspeech2: evaluate: FAILED with exit code 3, \d+ s$", text, re.M)
    assert re.search(r"^deepspeech2: export: ok, \d+ s$", text, re.M)
    section = text.split("== deepspeech2: evaluate: FAILED")[1].split("\n== ")[0].splitlines()
    shown = [line.split()[1] for line in section if line.endswith(" in WORK/deepspeech2")]
    assert shown == [str(i) for i in (*range(1, 61), *range(91, 151))] and "... [30 lines left out]" in section
    assert str(tmp_path) not in text and str(ROOT) not in text
    assert printed.splitlines()[-1] == str(output)


def test_steps_of_an_ascend_find_what_earlier_ones_wrote(tmp_path):
    """All commands are replaced by one that succeeds: it writes what export.py does and looks for it where it is used.
    """
    stand_in = tmp_path / "bin" / "timeout"
    stand_in.parent.mkdir()
    stand_in.write_text("""#!/bin/bash
model=${PWD##*/}
case "$*" in
  */export.py*) [[ $* =~ --checkpoint_path\\ ([a-z]+)/best.ckpt ]] || exit 8
    folder=${BASH_REMATCH[1]}
    [ -f "$folder/best.ckpt" ] && [ -f "$folder/config.yaml" ] || exit 9
    touch "$folder/inputs.json"
    if [ "$folder" = gears ]; then touch "gears/$model.ini"; fi ;;
  *converter_lite*) [[ $* =~ --outputFile=([a-z_]+)/.*--configFile=([a-z]+/$model.ini) ]] || exit 8
    [ -f "${BASH_REMATCH[1]}/inputs.json" ] && [ -f "${BASH_REMATCH[1]}/$model.ini" ] && [ -f "${BASH_REMATCH[2]}" ] ||
      exit 9 ;;
esac
""")
    stand_in.chmod(0o755)
    converter = tmp_path / "mindspore-lite-2.10.0-linux-x64" / "tools" / "converter" / "converter" / "converter_lite"
    converter.parent.mkdir(parents=True)
    converter.touch(0o755)
    code, printed = report("--output", tmp_path / "report.txt", "deepspeech2", DEVICE_TARGET="Ascend",
                           ASCEND_HOME_PATH=str(tmp_path), MS_LITE_HOME=str(converter.parents[3]),
                           PATH=f"{stand_in.parent}:{os.environ['PATH']}")
    text = (tmp_path / "report.txt").read_text()
    assert code == 0 and "cannot" not in printed, printed
    assert len(re.findall(r"^\w+: convert, \w+: ok", text, re.M)) == 2
    assert len(re.findall(r"^\w+: C\+\+, \w+, difference: ok", text, re.M)) == 3
    assert str(tmp_path) not in text and "mindspore-lite-2.10.0-linux-x64/tools/converter" in text


def test_corpus_is_what_the_lists_say(corpus):
    paths, speaker, _ = read_train_list(corpus / "train.txt")
    assert len(paths) == 32 and len(set(speaker)) == 8
    trials = read_trials(corpus / "trials.txt")
    assert 0 < trials.target.sum() < len(trials.target)
    config = Config(C=2, sample_rate=16000)
    for item in read_mixtures(corpus / "mixtures.csv", corpus / "wav", config):
        mixture, sources = load_mixture(item, config)
        np.testing.assert_allclose(mixture, sources.sum(0), atol=2 / 32768)     # all three are rounded to 16 bits
    for sample in read_manifest(corpus / "test.json"):
        samples, rate = soundfile.read(sample.audio)
        assert (len(samples), rate) == (32000, 16000) and 0.1 < np.abs(samples).max() < 0.5


def test_corpus_is_the_same_every_time(corpus, tmp_path):
    ascend_report.corpus(tmp_path / "again")
    for path in (corpus / "wav").iterdir():
        assert path.read_bytes() == (tmp_path / "again" / "wav" / path.name).read_bytes()


def write_results(folder, values):
    """A result of every kind that holds `values`."""
    folder.mkdir()
    (folder / "scores_cosine.txt").write_text("".join(f"{value:.5f} a.wav b.wav\n" for value in values))
    np.savez(folder / "log_probs.npz", keys=np.array(["a"]), **{"log_probs.a": np.array(values, np.float32)})
    np.array(values, np.float32).tofile(folder / "a_0.bin")
    soundfile.write(folder / "a_separated_1.wav", np.array(values), 8000, subtype="FLOAT")
    np.savez(folder / "embeddings.npz", other=np.array(values))     # no result


def test_comparison_tells_the_largest_difference_of_each_kind(tmp_path, capsys):
    expected = np.array([0.5, -0.25, 0.1])
    write_results(tmp_path / "expected", expected)
    write_results(tmp_path / "found", expected + [0, 0, 0.005])
    ascend_report.compare(tmp_path / "found", tmp_path / "expected")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4 and all("1 files, largest difference 1.0e-02 of" in line for line in lines)


@pytest.mark.parametrize("values", [[0.5, -0.25, 0.2], [0.5, -0.25], [0.5, np.nan, 0.1]])
def test_comparison_fails_for_other_numbers(values, tmp_path):
    write_results(tmp_path / "expected", [0.5, -0.25, 0.1])
    write_results(tmp_path / "found", values)
    with refused(MismatchError, "4 of 4 files", "a_0.bin", "a_separated_1.wav", "log_probs.npz"):
        ascend_report.compare(tmp_path / "found", tmp_path / "expected")


def test_comparison_fails_without_results(tmp_path):
    write_results(tmp_path / "expected", [0.5])
    with refused(MismatchError, "4 of 4 files", "a_0.bin: missing"):
        ascend_report.compare(tmp_path, tmp_path / "expected")
    with refused(NotFoundError, tmp_path / "nothing"):
        ascend_report.compare(tmp_path / "expected", tmp_path / "nothing")


@pytest.mark.parametrize("text, cleaned", [
    ("/data/alice/zoo/utils/device.py, line 3", "./utils/device.py, line 3"),
    ("/data/alice/zoo2/x.py", ".../x.py"),
    ("alice@gpu07: no space", "USER@HOST: no space"),
    ("gpu07.speech.example.com:8118, gpu07.", "HOST:8118, HOST."),
    ("malice and gpu07b stay", "malice and gpu07b stay"),
    ("/opt/conda/lib/python3.11/site-packages/mindspore/ops.py", "site-packages/mindspore/ops.py"),
    ("ASCEND_OPP_PATH=/usr/local/Ascend/cann/opp:/nfs/team/opp", "ASCEND_OPP_PATH=Ascend/cann/opp:.../opp"),
    ("/nfs/team/mindspore-lite-2.10.0-linux-aarch64/lib/x.so", "mindspore-lite-2.10.0-linux-aarch64/lib/x.so"),
    ("HCCL_IF_IP=10.1.2.3 127.0.0.1 hccl_8p_10.1.2.3.json", "HCCL_IF_IP=ADDRESS 127.0.0.1 hccl_8p_ADDRESS.json"),
    ("fe80:0:0:0:1:2:3:4 and 00:1a:2b:3c:4d:5e", "ADDRESS and ADDRESS"),
    ("firmware 7.7.0.1.231, driver 26.0.RC1, 0000:C1:00.0, at 15:23:06", "firmware 7.7.0.1.231, driver 26.0.RC1, "
     "0000:C1:00.0, at 15:23:06"),
    ("see https://www.mindspore.cn/install, std::vector, 3/4, runs/mini/best.ckpt",
     "see https://www.mindspore.cn/install, std::vector, 3/4, runs/mini/best.ckpt"),
])
def test_names_are_left_out(text, cleaned):
    names = [("/data/alice/zoo", "."), ("alice", "USER"), ("gpu07", "HOST")]
    assert ascend_report.without_names(text, names) == cleaned


def test_own_names_are_those_of_this_machine():
    names = dict(ascend_report.own_names())
    assert names[str(ROOT)] == "." and not {"root", "localhost", ""} & set(names)
    lengths = [len(name) for name in names]
    assert lengths == sorted(lengths, reverse=True)


def test_of_a_progress_bar_only_its_end_is_kept():
    done = subprocess.run([sys.executable, "-m", "utils.ascend_report", "clean"], input="1/2\r2/2\n\n  \nend\n",
                          cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "2/2\nend\n"


def test_bytes_that_are_no_utf8_are_shown():
    done = subprocess.run([sys.executable, "-m", "utils.ascend_report", "clean"], input=b"caf\xe9\nna\xc3\xafve\n",
                          cwd=ROOT, capture_output=True, check=True)
    assert done.stdout.decode() == "caf\\xe9\nna\xefve\n"


def test_versions_name_packages_and_variables_but_nothing_else_of_the_environment(capsys, monkeypatch):
    monkeypatch.setenv("HCCL_CONNECT_TIMEOUT", "600")
    monkeypatch.setenv("SECRET_TOKEN", "abc123")
    ascend_report.versions()
    text = capsys.readouterr().out
    assert f"mindspore {importlib.metadata.version('mindspore')}\n" in text and "HCCL_CONNECT_TIMEOUT=600\n" in text
    assert "abc123" not in text


def test_npu_smi_tells_nothing_of_other_peoples_processes(tmp_path, capsys, monkeypatch):
    path = tmp_path / "npu-smi"
    path.write_text("#!/bin/sh\nprintf '| npu-smi 26.0.rc1 |\\n| 0 910B3 OK |\\n| NPU Chip | Process id | Process name "
                    "|\\n| 0 0 | 77 | secret.py |\\n'\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    ascend_report.print_tool(["npu-smi", "info"])
    assert capsys.readouterr().out == "| npu-smi 26.0.rc1 |\n| 0 910B3 OK |\n"


def requirements():
    """{name: requirement} of requirements-ascend.txt."""
    lines = (line.split("#")[0].strip() for line in (ROOT / "requirements-ascend.txt").read_text().splitlines())
    entries = [Requirement(line) for line in lines if line and not line.startswith("-r")]
    return {entry.name: entry for entry in entries}


def test_requirements_of_an_ascend_fit_those_of_mindspore():
    """protobuf: the version that MindSpore's generated code asks for, and no limit that those installed here break."""
    ours = requirements()
    folder = Path(importlib.metadata.distribution("mindspore").locate_file("mindspore"))
    code = (folder / "train" / "mind_ir_pb2.py").read_text()
    version = re.search(r"ValidateProtobufRuntimeVersion\(\s*\S+,\s*(\d+),\s*(\d+),\s*(\d+)", code)
    assert str(ours["protobuf"].specifier) == f">={'.'.join(version.groups())}"
    for name, requirement in ours.items():
        try:
            installed = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue    # what only an Ascend needs
        assert requirement.specifier.contains(installed, prereleases=True), requirement


def test_page_names_the_versions_that_are_required():
    text = (ROOT / "docs" / "ascend.md").read_text(encoding="utf-8")
    folder = Path(importlib.metadata.distribution("mindspore").locate_file("mindspore"))
    checker = (folder / "run_check" / "_check_version.py").read_text(encoding="utf-8")
    known = re.findall(r'"([\d.]+)"', re.search(r"class AscendEnvChecker.*?self.version = \[(.*?)\]", checker, re.S)[1])
    row = next(line for line in text.splitlines() if line.startswith("| CANN |"))
    assert set(re.findall(r"(\d+\.\d+)\.x", row)) <= set(known)
    built = (folder / "lib/plugin/ascend/custom_ascendc_910b/version.info").read_text().strip().split("=")[1]
    assert built.startswith(re.search(r"Take CANN (\d+\.\d+):", text)[1])
    assert f"| protobuf | {str(requirements()['protobuf'].specifier).removeprefix('>=')} or later |" in text
    assert f"| MindSpore | {importlib.metadata.version('mindspore')} |" in text


@pytest.mark.slow
def test_requirements_of_an_ascend_can_be_installed():
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "-r", "requirements-ascend.txt"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_report_of_this_cpu(tmp_path, tree):
    output = tmp_path / "report.txt"
    code, printed = report("--output", output, tree=tree, DEVICE_TARGET="CPU")
    text = output.read_text()
    assert code == 0 and "FAILED" not in text, printed
    assert len(re.findall(r"^\w+: (?:evaluation|C\+\+, \w+), difference: ok", text, re.M)) == 3 * len(MODELS)
    for difference in re.findall(r"largest difference (\S+) of the largest value", text):
        assert float(difference) < 1e-4
    assert str(ROOT) not in text and str(tmp_path) not in text
