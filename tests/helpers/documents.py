"""Reading the tables of Markdown documents, and the tests that they name."""
import ast
import functools
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def table(text, heading):
    """The cells of each row of the first table after `heading`, whatever its level; [] for one without rows."""
    after = re.split(rf"^(?:#+ {re.escape(heading)}|\| {re.escape(heading)} \|.*)$", text, maxsplit=1, flags=re.M)
    if len(after) < 2:
        raise AssertionError(f"{heading}: no such heading or table")
    lines = re.search(r"^\|[ :|-]+\|\n((?:\|.*\n?)*)", after[1], re.M)[1].splitlines()
    return [[cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


@functools.cache
def defined_tests():
    """{"tests/test_x.py": {name: syntax tree}} of all tests, but those that are always skipped."""
    tests = {}
    for path in sorted((ROOT / "tests").glob("test_*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        tests[f"tests/{path.name}"] = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)
                                       and node.name.startswith("test_") and not _skipped(node)}
    return tests


def _skipped(function):
    """Whether it is marked with skip, or begins with it."""
    names = [ast.unparse(decorator).split("(")[0] for decorator in function.decorator_list]
    first = next(node for node in function.body if not (isinstance(node, ast.Expr)
                                                        and isinstance(node.value, ast.Constant)))
    return "pytest.mark.skip" in names or ast.unparse(first).startswith(("pytest.skip(", "pytest.xfail("))
