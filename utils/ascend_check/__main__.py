"""Compiles a model's graphs for an Ascend, on a CPU: python -m utils.ascend_check [--model NAME] [--soc CHIP] [...].

No Ascend and no CANN is needed: MindSpore's own plugin compiles, and libraries without content stand in for CANN's.
One row per graph: how many operators have a kernel, and which; what is left to the host; the backend. A verdict is bad,
and the exit code 1, where a graph does not compile, has an operator without a kernel, calls Python, computes tensors on
the host or takes the GE backend. With --config the network is that of your settings, without it some small ones.
What it cannot see: whether CANN compiles every kernel, values and speed (docs/ascend_check.md).
"""
import argparse
import importlib
import os
import shlex
import signal
import sys
from pathlib import Path

from utils.ascend_check.stubs import check_machine, stubs
from utils.ascend_check.worker import CHIPS
from utils.command_line import Parser
from utils.errors import SettingError, nearest, run
from utils.files import write_text
from utils.ranges import Range, number
from utils.results import require_writable


def main(argv: list[str]) -> None:
    """Prints the table; exit code 1 if a verdict is bad."""
    args = parse(argv)
    check_machine()
    # these import MindSpore, which may not be there
    from utils.ascend_check import report
    from utils.ascend_check.runs import make_tasks, run_tasks

    wanted = choose(args)
    if args.list:
        print("\n".join(f"{model}: {name}" for model, graphs in wanted.items() for name in graphs))
        return
    if args.markdown:
        require_writable(Path(args.markdown).parent, "name another file")
    folder = stubs()
    tasks = [task for model, graphs in wanted.items()
             for task in make_tasks(module_of(model), graphs, args.soc, args.config)]
    longest = max(len(name) for graphs in wanted.values() for name in graphs)
    widths = (max(map(len, wanted)), longest, 4, 5, 5, 5, 30, 16)
    print(report.line(report.HEADER, widths), flush=True)

    def is_bad(cells):
        return cells[-1] not in (report.GOOD, report.ABSENT)

    def show(task, name, record):
        cells = report.row(task.module.split(".")[0], name, task.chip, record)
        print(report.line(cells, widths, sys.stdout.isatty() and is_bad(cells)), flush=True)
        if args.log and record.error:
            print(record.error, flush=True)

    records = run_tasks(tasks, folder, show, args.jobs)
    rows = [report.row(model, name, chip, records[module_of(model), chip, name])
            for model, graphs in wanted.items() for name in graphs for chip in args.soc]
    if args.markdown:
        write_text(args.markdown, report.markdown(rows, shlex.join(["python", "-m", "utils.ascend_check", *argv])))
    good, bad = sum(cells[-1] == report.GOOD for cells in rows), sum(map(is_bad, rows))
    print(f"{good + bad} graphs, {good} good, {bad} bad")
    sys.exit(1 if bad else 0)


def parse(argv: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = Parser(prog="python -m utils.ascend_check", description=__doc__,
                    formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="+", default=models(), metavar="NAME", help="default: all")
    parser.add_argument("--graph", nargs="+", default=[], metavar="NAME",
                        help="a kind such as train, or a whole name; default: all, --list shows them")
    parser.add_argument("--soc", nargs="+", default=list(CHIPS), type=str.lower, metavar="CHIP",
                        help=f"{' or '.join(CHIPS)}; default: both")
    parser.add_argument("--config", default="", metavar="FILE", help="YAML file of settings as train.py takes it")
    parser.add_argument("--list", action="store_true", help="only names the graphs")
    parser.add_argument("--log", action="store_true", help="the whole error of a graph that does not compile, too")
    parser.add_argument("--markdown", metavar="FILE", help="writes the table there")
    parser.add_argument("--jobs", type=number("--jobs", Range(1, 512), int), default=len(os.sched_getaffinity(0)),
                        metavar="N", help="processes at a time (%(default)s)")
    args = parser.parse_args(argv)
    for what, given, known in (("model", args.model, models()), ("soc", args.soc, CHIPS)):
        for name in given:
            if name not in known:
                raise SettingError(f"{what}: found {name!r}, expected one of {', '.join(known)}")
    if args.config and len(args.model) > 1:
        raise SettingError("config: settings are those of one model; name it by --model")
    args.config = args.config and os.path.abspath(args.config)
    return args


def models() -> list[str]:
    """The folders that say which graphs they have."""
    return sorted(path.parent.parent.name for path in Path(__file__).parents[2].glob("*/src/ascend_graphs.py"))


def module_of(model: str) -> str:
    return f"{model}.src.ascend_graphs"


def choose(args: argparse.Namespace) -> dict:
    """{model: {name: Graph}} of what the command line asks for."""
    from utils.ascend_check.runs import graphs_of

    available = {model: graphs_of(importlib.import_module(module_of(model)), args.config) for model in args.model}
    for wanted in args.graph:
        if not any(fits(name, wanted) for graphs in available.values() for name in graphs):
            known = {part for graphs in available.values() for name in graphs for part in (name, name.split(",")[0])}
            raise SettingError(f"graph: found {wanted!r}, expected a name or a kind{nearest(wanted, known)}; --list "
                               "shows them all")
    return {model: {name: graph for name, graph in graphs.items()
                    if not args.graph or any(fits(name, wanted) for wanted in args.graph)}
            for model, graphs in available.items()}


def fits(name: str, wanted: str) -> bool:
    """Whether a graph's name is what is wanted, or of that kind."""
    return wanted in (name, name.split(",")[0])


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))     # ends what it has started, too
    run(main, sys.argv[1:])
