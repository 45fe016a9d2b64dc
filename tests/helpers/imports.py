"""The picture of imports: make imports, or python tests/helpers/imports.py.

Imports point one way: entry points -> app.src -> meeting.src -> <model>.src -> the rooms of utils -> third party, where
meeting and app join the models, and take only what a model's package offers. A room of utils is a package,
or a module beside the packages; the programs there are entry points. Nothing imports an entry point but WRAPPERS and
tests, which call its `main` and take no more out of it than the class of its settings. The floors of the rooms follow
from their imports: a room stands one above the highest that it imports. An import that points back, or a circle, is
named; exit code 1.
"""
import ast
import functools
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MODELS = tuple(path.parent.parent.name for path in sorted(ROOT.glob("*/src/config.py")))
TOGETHER = {"benchmarks", "tests"}      # folders of entry points that are drawn as one each
JOINING = ("meeting", "app")            # folders like a model's that stand above the models, each above those before
# another command line over a program, whose `main` it calls: {it: the program}
WRAPPERS = {"deepspeech2.data.an4": "deepspeech2.prepare", "who_said_what": "meeting.infer"}
WIDTH = 120

Trees = Mapping[Path, ast.Module]
Graph = dict[str, set[str]]


def main() -> int:
    """Prints the picture and what is wrong; the exit code."""
    trees = sources()
    wrong = violations(trees)
    if not wrong:
        print(picture(trees))
        print(f"{len(trees)} modules: no import points back, no circle")
    for line in wrong:
        print(f"error: {line}", file=sys.stderr)
    return 1 if wrong else 0


@functools.cache
def sources() -> dict[Path, ast.Module]:
    """{path relative to the root: syntax tree} of every Python file that git tracks or would."""
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "*.py"], cwd=ROOT, check=True,
                            capture_output=True, text=True).stdout.split()
    return {Path(path): ast.parse((ROOT / path).read_text(encoding="utf-8")) for path in listed
            if (ROOT / path).is_file()}


@functools.cache
def imported(path: Path, tree: ast.Module) -> tuple[str, ...]:
    """Full names of all that a file imports, wherever the statement stands."""
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [name.name for name in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = [*path.parts[:-node.level]] if node.level else []
            module = ".".join([*start, *([node.module] if node.module else [])])
            names += [f"{module}.{name.name}" for name in node.names]
    return tuple(names)


def module_of(path: Path) -> str:
    """utils/audio/packed.py -> utils.audio.packed; a package's __init__.py -> the package."""
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def module_graph(trees: Trees) -> Graph:
    """{module: the modules of this repository that it imports}."""
    modules = {module_of(path) for path in trees}

    def known(name):
        while name and name not in modules:
            name = name.rpartition(".")[0]
        return name

    return {module_of(path): {known(name) for name in imported(path, tree)} - {"", module_of(path)}
            for path, tree in trees.items()}


def rooms(trees: Trees) -> dict[str, str]:
    """{module: its room}: of utils `utils.audio`, of a model `ecapatdnn.src`; an entry point is its own."""
    return {module_of(path): _room(path, tree) for path, tree in trees.items()}


def _room(path, tree):
    if path.parts[0] == "utils" and len(path.parts) > 2:
        return f"utils.{path.parts[1]}"
    if path.parts[0] in MODELS + JOINING and path.parts[1] == "src":
        return f"{path.parts[0]}.src"
    return module_of(path)


def is_entry_point(path: Path, tree: ast.Module) -> bool:
    """Whether nothing may import a file, but those of its own folder and tests: programs, benchmarks, tests."""
    if path.parts[0] in MODELS + JOINING and (path.parts[1] == "src" or path.name == "__init__.py"):
        return False
    if path.parts[0] == "utils":
        return len(path.parts) == 2 and any(isinstance(node, ast.If) and ast.unparse(node.test).startswith("__name__")
                                            for node in tree.body)
    return True


def room_graph(trees: Trees) -> Graph:
    """{room: the other rooms that it imports}."""
    room, graph = rooms(trees), {}
    for module, targets in module_graph(trees).items():
        graph.setdefault(room[module], set()).update({room[target] for target in targets} - {room[module]})
    return graph


def violations(trees: Trees) -> list[str]:
    """What points back, one text each; and, where nothing does, the first circle."""
    entry = {module_of(path) for path, tree in trees.items() if is_entry_point(path, tree)}
    wrong = [f"{source} imports {target}, {reason}" for source, targets in sorted(module_graph(trees).items())
             for target in sorted(targets) if (reason := _points_back(source, target, entry))]
    wrong += [f"{module_of(path)} imports {name}, a part of an entry point" for path, tree in sorted(trees.items())
              if path.parts[0] == "tests" for name in imported(path, tree)
              if name.split(".")[0] in MODELS and name.rpartition(".")[0] in entry
              and not name.endswith(("Config", ".Flags"))]
    for kind, graph in (("rooms", room_graph(trees)), ("modules", module_graph(trees))):
        if not wrong and (way := circle(graph)):
            wrong.append(f"a circle of {kind}: {' imports '.join(way)}")
    return wrong


def _points_back(source, target, entry):
    """Why `source` must not import `target`; "" where it may."""
    top, other = source.split(".")[0], target.split(".")[0]
    if top == "tests" and other != "benchmarks" or top == other == "benchmarks":
        return ""
    if target in entry and WRAPPERS.get(source) != target:
        return "an entry point"
    if top in TOGETHER:
        return ""
    if top == "utils" and other != "utils":
        return "which utils serves"
    if other in JOINING and top in (*MODELS, *JOINING[:JOINING.index(other)]):
        return "which joins the models"
    return "another model" if top in MODELS and other in MODELS and top != other else ""


def circle(graph: Graph) -> list[str]:
    """A way along the arrows that ends where it starts; [] where there is none."""
    done = set()

    def follow(node, way):
        if node in way:
            return [*way[way.index(node):], node]
        if node not in done:
            for target in sorted(graph.get(node, ())):
                if ring := follow(target, [*way, node]):
                    return ring
            done.add(node)
        return []

    return next((ring for node in sorted(graph) if (ring := follow(node, []))), [])


def floors(graph: Graph) -> list[list[str]]:
    """The rooms of utils by floor, from the ground up."""
    heights: dict[str, int] = {}

    def height(room):
        if room not in heights:
            heights[room] = 1 + max((height(target) for target in graph[room]), default=-1)
        return heights[room]

    for room in graph:
        height(room)
    return [sorted(room for room in graph if heights[room] == floor) for floor in range(max(heights.values()) + 1)]


def picture(trees: Trees) -> str:
    """The rooms by floor, from the entry points down: what each is for, and arrows to the rooms that it imports."""
    arrows, paths = room_graph(trees), {module_of(path): path for path in trees}
    entry = {module for module, path in paths.items() if is_entry_point(path, trees[path])}
    inner = {room for room in arrows if room.startswith("utils.") and room not in entry}
    levels = floors({room: arrows[room] for room in inner})
    number = {room: floor for floor, names in enumerate(levels) for room in names}
    lines = ["entry points"]
    for folder in sorted({module.split(".")[0] for module in entry}, key=lambda name: (name in TOGETHER, name)):
        names = sorted(module for module in entry if module.split(".")[0] == folder)
        text = f"{len(names)} files" if folder in TOGETHER else "" if names == [folder] else " ".join(
            name.partition(".")[2] for name in names)
        lines += _wrapped(folder, text)
    lines += ["", "joins the models"]
    for room in (f"{folder}.src" for folder in reversed(JOINING) if f"{folder}.src" in arrows):
        lines += _wrapped(room, " ".join(["->", *sorted(arrows[room] - set(number)), *_arrow(
            arrows[room] & set(number), number).split()[1:]]))
    lines += ["", "models"]
    for room in (f"{model}.src" for model in MODELS if f"{model}.src" in arrows):
        lines += _wrapped(room, _arrow(arrows[room], number))
    for floor in reversed(range(len(levels))):
        lines += ["", f"utils, floor {floor}"]
        for room in levels[floor]:
            lines += _wrapped(room.partition(".")[2], _purpose(room, trees, paths))
            lines += _wrapped("", _arrow(arrows[room], number))
    return "\n".join([*lines, "", "third party", *_wrapped("", " ".join(third_party(trees))), ""])


def _arrow(targets, number):
    """The rooms, those of the highest floors first."""
    return " ".join(["->", *(room.removeprefix("utils.") for room in
                             sorted(targets, key=lambda room: (-number[room], room)))]) if targets else ""


def _purpose(room, trees, paths):
    """The first line of a room's docstring."""
    return (ast.get_docstring(trees[paths[room]]) or "").split("\n")[0]


def _wrapped(name, text):
    if not name and not text:
        return []
    return textwrap.wrap(text, WIDTH, initial_indent=f"  {name:<16}  ", subsequent_indent=" " * 20) or [f"  {name}"]


def third_party(trees: Trees) -> list[str]:
    """What models and utils import of others, beyond Python's own."""
    names = {name.split(".")[0] for path, tree in trees.items() if path.parts[0] in (*MODELS, *JOINING, "utils")
             for name in imported(path, tree)}
    return sorted(names - {"utils", *MODELS, *JOINING} - set(sys.stdlib_module_names), key=str.lower)


if __name__ == "__main__":
    sys.exit(main())
