"""The shape of the repository: which way imports point, one skeleton for all models."""
import ast
import dataclasses
import gzip
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import imports
from helpers.documents import ROOT, table
from helpers.markdown import headings

MODELS = [folder for folder in ("ecapatdnn", "conv_tasnet", "deepspeech2") if (ROOT / folder).is_dir()]
# command lines of utils
TOOLS = {"ascend_report", "average", "publish", "mini_corpus", "hccl_tools", "launch", "commands", "simulate_rooms"}


def test_imports_point_one_way():
    """Entry point -> <model>.src -> rooms of utils -> third party; the rooms form no circle. make imports draws it."""
    assert imports.violations(imports.sources()) == []


def test_no_test_file_imports_another():
    """What several need lies in tests/helpers; a child process that runs a function of its own file may."""
    files = {path.stem: tree for path, tree in imports.sources().items() if path.match("tests/test_*.py")}
    assert [f"{name} imports {target}" for name, tree in files.items()
            for target in imports.imported(Path("tests", f"{name}.py"), tree)
            if target.removeprefix("tests.").split(".")[0] in files] == []


@pytest.mark.parametrize(("files", "wrong"), [
    ({"utils/errors.py": "", "utils/audio/wav.py": "from utils.errors import UserError",
      "ecapatdnn/src/model.py": "from utils.audio import wav", "ecapatdnn/eval.py": "import ecapatdnn.src.model",
      "tests/test_eval.py": "from ecapatdnn import eval"}, None),
    ({"utils/audio/wav.py": "def read():\n    from ecapatdnn.src import model", "ecapatdnn/src/model.py": ""},
     "utils.audio.wav imports ecapatdnn.src.model, which utils serves"),
    ({"ecapatdnn/src/model.py": "from .. import eval", "ecapatdnn/eval.py": ""},
     "ecapatdnn.src.model imports ecapatdnn.eval, an entry point"),
    ({"conv_tasnet/src/model.py": "import ecapatdnn.src.model", "ecapatdnn/src/model.py": ""},
     "conv_tasnet.src.model imports ecapatdnn.src.model, another model"),
    ({"utils/audio/wav.py": "import utils.launch", "utils/launch.py": "if __name__ == '__main__':\n    main()"},
     "utils.audio.wav imports utils.launch, an entry point"),
    ({"utils/audio/wav.py": "import tests.helpers", "tests/helpers/__init__.py": ""},
     "utils.audio.wav imports tests.helpers, an entry point"),
    ({"ecapatdnn/infer.py": "from ecapatdnn.eval import load", "ecapatdnn/eval.py": ""},
     "ecapatdnn.infer imports ecapatdnn.eval, an entry point"),
    ({"deepspeech2/data/an4.py": "from deepspeech2 import prepare", "deepspeech2/prepare.py": ""}, None),
    ({"benchmarks/parts.py": "from ecapatdnn.eval import load", "ecapatdnn/eval.py": ""},
     "benchmarks.parts imports ecapatdnn.eval, an entry point"),
    ({"tests/helpers/graphs.py": "from ecapatdnn.eval import load", "ecapatdnn/eval.py": ""},
     "tests.helpers.graphs imports ecapatdnn.eval.load, a part of an entry point"),
    ({"tests/test_eval.py": "from ecapatdnn.prepare import PrepareConfig", "ecapatdnn/prepare.py": ""}, None),
    ({"utils/a/one.py": "import utils.b.one", "utils/b/one.py": "import utils.c.one", "utils/b/two.py": "",
      "utils/c/one.py": "import utils.b.two"}, "a circle of rooms: utils.b imports utils.c imports utils.b"),
    ({"utils/a/one.py": "import utils.a.two", "utils/a/two.py": "from utils.a import one"},
     "a circle of modules: utils.a.one imports utils.a.two imports utils.a.one")])
def test_an_import_that_points_back_is_named(files, wrong):
    trees = {Path(path): ast.parse(text) for path, text in files.items()}
    assert imports.violations(trees) == ([wrong] if wrong else [])


def rooms():
    """The names of the rooms of utils."""
    packages = {path.parent.name for path in ROOT.glob("utils/*/__init__.py")}
    return packages | {path.stem for path in ROOT.glob("utils/*.py")} - TOOLS - {"__init__"}


@pytest.mark.parametrize("document", ["docs/architecture.md", "docs/architecture_CN.md"])
def test_the_drawing_of_the_house_has_every_room_and_none_below_what_imports_it(document):
    drawing = re.search(r"```text\n(.*?)```", (ROOT / document).read_text(encoding="utf-8"), re.S)[1]
    lines = [re.split(r" {3,}", line.strip())[0].split() for line in drawing.split("utils/\n")[1].splitlines()]
    place = {name: number for number, names in enumerate(lines) for name in names if name in rooms()}
    assert set(place) == rooms()
    for room, targets in imports.room_graph(imports.sources()).items():
        for target in targets if room.removeprefix("utils.") in place else ():
            assert place[room.removeprefix("utils.")] <= place[target.removeprefix("utils.")], f"{room} -> {target}"


def test_the_picture_of_imports_holds_every_room_once():
    lines = imports.picture(imports.sources()).splitlines()
    between = lines[lines.index("models"):lines.index("third party")]
    drawn = [line.split()[0] for line in between if line.startswith("  ") and line[2] != " "]
    assert sorted(drawn) == sorted(rooms() | {f"{model}.src" for model in MODELS})
    assert max(map(len, lines)) <= 120


def unit(name):
    """The module of utils that holds the imported `name`, or the room where all of it belongs together."""
    parts = name.split(".")
    if parts[0] != "utils" or len(parts) < 2:
        return ""
    whole = parts[1] in {"cpu_ops", "ascend_check"} or not (ROOT / "utils" / parts[1]).is_dir()
    return ".".join(parts[:2 if whole else 3])


def test_utils_are_shared():
    """A module or package of utils serves two models, or one and what joins them; else it belongs to that one."""
    trees = imports.sources()
    parts = {path: unit(".".join(path.with_suffix("").parts)) for path in trees if path.parts[0] == "utils"}
    users = {module: set() for path, module in parts.items()
             if path.name != "__init__.py" and module.split(".")[-1] not in TOOLS}

    def visit(path, model):
        for name in imports.imported(path, trees[path]):
            module = unit(name)
            if module in users and model not in users[module]:
                users[module].add(model)
                for path in [path for path, part in parts.items() if part == module]:
                    visit(path, model)

    for path in trees:
        if path.parts[0] in (*MODELS, *imports.JOINING):
            visit(path, path.parts[0])
    assert not {module for module, models in users.items() if len(models) < min(2, len(MODELS))}


def test_every_error_has_a_kind():
    """No program makes a plain `UserError`, and no kind of utils/errors.py, where all lie, goes without a raise."""
    trees = {path: tree for path, tree in imports.sources().items() if path.parts[0] != "tests"}
    made = {(str(path), node.lineno, getattr(node.func, "id", getattr(node.func, "attr", "")))
            for path, tree in trees.items() for node in ast.walk(tree) if isinstance(node, ast.Call)}
    assert not [(path, line) for path, line, name in made if name == "UserError"], "take a kind of utils/errors.py"
    kinds = [node.name for node in trees[Path("utils/errors.py")].body
             if isinstance(node, ast.ClassDef) and node.name != "UserError"]
    assert kinds and set(kinds) <= {name for _, _, name in made}


def test_tests_hold_kinds_of_errors_and_facts():
    """By `refused` of helpers/errors.py, never a pattern of the sentence: that is tests/test_errors.py alone."""
    kinds = {node.name for node in imports.sources()[Path("utils/errors.py")].body if isinstance(node, ast.ClassDef)}
    for path, tree in imports.sources().items():
        for node in ast.walk(tree) if path.parts[0] == "tests" else ():
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.raises":
                error = ast.unparse(node.args[0]).split(".")[-1]
                assert error not in kinds | {"AudioError"}, f"{path}:{node.lineno}: take refused({error}, ...)"


def test_importing_prints_and_writes_nothing():
    """And what a data worker imports holds no MindSpore, which would cost each of them seconds and memory."""
    command = ("import ecapatdnn.src.dataset, conv_tasnet.src.dataset, deepspeech2.src.dataset; "
               "import utils.training.loader, sys; print('mindspore' in sys.modules)")
    output = subprocess.run([sys.executable, "-c", command], cwd=ROOT, capture_output=True, text=True, check=True)
    assert output.stdout == "False\n" and output.stderr == ""


@pytest.mark.parametrize("model", MODELS)
def test_model_folder_has_the_skeleton(model):
    for name in ("README.md", "README_CN.md", "prepare.py", "train.py", "eval.py", "export.py", "infer.py",
                 "import_torch.py", "preprocess.py", "postprocess.py", "configs/mini.yaml",
                 "scripts/run_standalone_train_ascend.sh",
                 "scripts/run_eval_ascend.sh", "scripts/run_infer_310.sh", "src/config.py", "src/dataset.py",
                 "src/model.py", "src/loss.py", "src/metric.py", "src/inference.py", "src/evaluation.py",
                 "src/torch_layout.py", "test/recipe.sh", "test/train_full_1p.sh",
                 "test/train_full_8p.sh", "test/train_performance_1p.sh", "test/train_performance_8p.sh"):
        assert (ROOT / model / name).is_file(), name


def test_readmes_of_all_models_have_the_same_sections():
    """In the same order, and few enough lines to be read; what all models share is in docs."""
    for name in ("README.md", "README_CN.md"):
        texts = [(ROOT / model / name).read_text(encoding="utf-8") for model in MODELS]
        assert len({tuple(headings(text)[1:]) for text in texts}) == 1, name
        assert max(len(text.splitlines()) for text in texts) <= 160, name


def test_results_of_the_readmes_are_those_of_results_md():
    def numbers(document, header):
        rows = table((ROOT / document).read_text(encoding="utf-8"), header)
        return [re.findall(r"[\d.]+ (?:%|dB)", row[5]) for row in rows]

    shown = numbers("README.md", "Results")
    assert len(shown) == len(MODELS) and all(shown) and shown == numbers("README_CN.md", "结果")
    text = (ROOT / "RESULTS.md").read_text(encoding="utf-8")
    assert [number for row in shown for number in row if number not in text] == []


def test_every_setting_is_documented():
    """Each field of a config has a comment on its line, there or in a base; the README's table names real ones."""
    configs = {model: importlib.import_module(f"{model}.src.config").Config for model in MODELS}
    speaker_id = importlib.import_module("ecapatdnn.src.speaker_id_config").SpeakerIdConfig
    for config in (*configs.values(), speaker_id):
        source = "".join(inspect.getsource(cls) for cls in config.__mro__ if dataclasses.is_dataclass(cls))
        commented = set(re.findall(r"^    (\w+): \w+ = .*  # \S", source, re.M))
        assert {field.name for field in dataclasses.fields(config)} <= commented
    for model, config in configs.items():
        named = re.findall(r"^\| `(\w+)` \|", (ROOT / model / "README_CN.md").read_text(encoding="utf-8"), re.M)
        assert named and set(named) <= {field.name for field in dataclasses.fields(config)}


def test_nothing_names_a_workplace():
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True,
                            text=True).stdout.split("\n")
    for name in filter(None, listed):
        path = ROOT / name
        if path.suffix in {".png", ".ckpt", ".npz", ".wav", ".flac"} or not path.is_file() \
                or name in {".ci/run", "tests/test_repository.py"}:
            continue
        content = path.read_bytes()
        text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode("utf-8")
        assert not re.search(r"\.\./shared|/work/|/root/|/home/(?!abc000)", text), name


@pytest.mark.slow
def test_benchmark_of_the_cap_prints_its_table():
    output = subprocess.run([sys.executable, "benchmarks/onednn_cap.py", "--channels", "16", "--batch", "2", "--frames",
                             "40", "--repeat", "1"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert re.search(r"^ratio not capped / capped \d+\.\d\d$", output, re.M)
    assert re.search(r"^one data worker.* \d+\.\d utterances/s$", output, re.M)
