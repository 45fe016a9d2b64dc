"""Annotations: every public function has them, and what typings/ says of MindSpore is so."""
import ast
import importlib
import inspect
import re
from pathlib import Path

import pytest
from helpers.documents import ROOT
from helpers.imports import sources

INSTANCES = {"Tensor": (1.0,), "Parameter": (1.0, "x"), "Cell": ()}       # how to make one, to ask it what it has
STUBS = sorted((ROOT / "typings").rglob("*.pyi"))


def functions(node, name=""):
    """(name, function) of the functions and methods in a module or class."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef):
            yield f"{name}{child.name}", child
        elif isinstance(child, ast.ClassDef):
            yield from functions(child, f"{name}{child.name}.")
        elif isinstance(child, (ast.If, ast.Try)):
            yield from functions(child, name)


def parameters(function):
    arguments = function.args
    return [argument for argument in (*arguments.posonlyargs, *arguments.args, arguments.vararg, *arguments.kwonlyargs,
                                      arguments.kwarg) if argument is not None and argument.arg not in ("self", "cls")]


def lacks_annotations(tree):
    """Names of the public functions, and of constructors, with a parameter or a result without a type.

    `construct` has none: MindSpore reads its source. A constructor without parameters needs none either.
    """
    return [name for name, function in functions(tree)
            if (function.name == "__init__" or not function.name.startswith("_")) and function.name != "construct"
            and (any(parameter.annotation is None for parameter in parameters(function))
                 or function.returns is None and function.name != "__init__")]


def test_every_public_function_is_annotated():
    trees = {path: tree for path, tree in sources().items() if path.parts[0] not in ("tests", "benchmarks")}
    assert len(trees) > 150
    assert {str(path): names for path, tree in trees.items() if (names := lacks_annotations(tree))} == {}


@pytest.mark.parametrize(("source", "lacking"), [
    ("def f(x: int) -> int: ...", []), ("def f(x) -> int: ...", ["f"]), ("def f(x: int): ...", ["f"]),
    ("def _f(x): ...", []), ("def f(*x) -> int: ...", ["f"]), ("def f(*, x) -> int: ...", ["f"]),
    ("class C:\n    def construct(self, x): ...\n    def f(self): ...\n    def __init__(self, x): ...",
     ["C.f", "C.__init__"])])
def test_a_function_without_annotations_is_named(source, lacking):
    assert lacks_annotations(ast.parse(source)) == lacking


@pytest.mark.parametrize("path", STUBS, ids=lambda path: str(path.relative_to(ROOT / "typings")))
def test_stub_says_what_mindspore_has(path):
    """Every name in it is there, and takes the parameters that the stub names, in this order."""
    parts = path.relative_to(ROOT / "typings").with_suffix("").parts
    place = importlib.import_module(".".join(parts).removesuffix(".__init__"))
    tree = ast.parse(path.read_text(encoding="utf-8"))
    wrong = []
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            wrong += wrong_members(node, getattr(place, node.name, None))
        elif isinstance(node, ast.FunctionDef) and not agrees(node, getattr(place, node.name, None)):
            wrong.append(node.name)
        elif isinstance(node, ast.AnnAssign) and not hasattr(place, node.target.id):
            wrong.append(node.target.id)
    assert wrong == []


def wrong_members(node, cls):
    """Names of the methods and attributes of a stub's class that the class lacks or has otherwise."""
    if cls is None:
        return [node.name]
    wrong = [f"{node.name}.{function.name}" for function in node.body
             if isinstance(function, ast.FunctionDef) and not agrees(function, member(cls, function.name))]
    return wrong + [f"{node.name}.{item.target.id}" for item in node.body
                    if isinstance(item, ast.AnnAssign) and member(cls, item.target.id) is None]


def member(cls, name):
    """A method or attribute of a class, or True where its source, or an instance, has an attribute of this name."""
    if hasattr(cls, name):
        return getattr(cls, name)
    if cls.__name__ in INSTANCES:
        return getattr(cls(*INSTANCES[cls.__name__]), name, None)
    if cls.__name__.endswith("Proto") or cls.__name__ == "Checkpoint":
        return True if name in cls.DESCRIPTOR.fields_by_name else None
    sources = [inspect.getsource(base) for base in cls.__mro__ if base.__module__.startswith("mindspore.")
               and Path(inspect.getsourcefile(base) or "").suffix == ".py"]
    return True if any(re.search(rf"self\.{name}\b", source) for source in sources) else None


def agrees(stub, found):
    """Whether `found` can be called as the stub says; what is written in C++ tells nothing of its parameters."""
    if found is None:
        return False
    try:
        real = inspect.signature(found).parameters
    except (TypeError, ValueError):
        return True
    if stub.name == "__call__" or any(one.kind == inspect.Parameter.VAR_KEYWORD for one in real.values()):
        return True     # as `construct`, or the operator in C++, takes them
    names = [argument.arg for argument in parameters(stub) if argument not in (stub.args.vararg, stub.args.kwarg)]
    return names == [name for name in real if name in names]
