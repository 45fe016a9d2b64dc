"""What each kernel of utils/cpu_ops gives: CPU seconds with MindSpore's own layer in place of one kind of ours.

    python benchmarks/ablation.py [--rounds 2] [--repeat 3] [--only "ECAPA-TDNN C=512"] [--bf16] [--items 1]
        [--plain FastBlock]

For each network and each kind of fast layer in it: a training step as in training.py, and the network alone in
evaluation, beside those with all kernels, as ratios. Above 1 the kernel pays. Kinds that --plain names are plain
everywhere: those inside Conv-TasNet's block compute only without FastBlock.
"""
import argparse
import json

import training
from side_by_side import call, cores, in_turns, measure, print_machine

PASSES = ("training", "evaluation")


def main():
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=3, help="timed steps per round")
    parser.add_argument("--only", nargs="+", help="some networks instead of all", choices=training.SIZES)
    parser.add_argument("--bf16", action="store_true", help="products take bfloat16")
    parser.add_argument("--plain", nargs="+", default=[], help="kinds of fast layers that are plain everywhere")
    parser.add_argument("--items", type=int, help="of a batch, instead of those of training.py")
    parser.add_argument("--worker", nargs=2, metavar=("PASS", "NAME"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        which, name = args.worker
        if which == "kinds":
            print(json.dumps(sorted(fast_kinds(fast_network(name, args.plain, args.bf16)[0]))))
        else:
            a_run = a_step if which == "training" else a_pass
            measure(a_run(name, args.plain, args.bf16, args.items), args.repeat, warm_up=1)
        return
    print_machine()
    print("| | plain | training, CPU | ratio | evaluation, CPU | ratio |\n|---|---|---|---|---|---|")
    more = ["--bf16"] * args.bf16 + (["--items", args.items] if args.items else [])
    for name in args.only or training.SIZES:
        plain = ["--plain", *args.plain] if args.plain else []
        kinds = call(["--worker", "kinds", name, *plain, *more], cores()[:2])
        columns = {kind: [] for kind in ("", *kinds)}
        for which in PASSES:
            times = in_turns(columns, lambda kind, which=which, name=name: call(
                ["--worker", which, name, "--repeat", args.repeat, "--plain", *args.plain, kind, *more], cores()[:2]),
                args.rounds)
            for kind, took in times.items():
                columns[kind] += [f"{took.processor:.3f} s", f"{took.processor / times[''].processor:.2f}"]
        for kind, cells in columns.items():
            print(f"| {name} | {', '.join([*args.plain, *filter(None, [kind])])} | {' | '.join(cells)} |", flush=True)


def fast_network(name, plain, bfloat16):
    """Network, loss, objective: with the fast layers but for the kinds in `plain`."""
    from utils.cpu_ops import fast, layers

    model, loss, objective = training.our_network(name)
    for table in (layers.FAST, getattr(model, "fast_cells", {})):
        for slow, quick in list(table.items()):
            if quick.__name__ in plain:
                del table[slow]
    return fast(model, bfloat16), loss, objective


def fast_kinds(model):
    """Names of the classes of its fast layers."""
    from utils.cpu_ops import layers

    quick = {*layers.FAST.values(), *getattr(model, "fast_cells", {}).values()}
    return {type(cell).__name__ for _, cell in model.cells_and_names() if type(cell) in quick}


def a_step(name, plain, bfloat16, items):
    """A function that trains one step."""
    model, loss, objective = fast_network(name, plain, bfloat16)
    return training.step_of(model.set_train(), loss, objective, training.batch(name, items))


def a_pass(name, plain, bfloat16, items):
    """A function that runs the network on a batch, in graph mode."""
    from mindspore import Tensor

    model, *_ = fast_network(name, plain, bfloat16)
    tensors = [Tensor(array) for array in training.inputs(name, items)]
    model.set_train(False)

    def run():
        y = model(*tensors)
        return (y[0] if isinstance(y, tuple) else y).asnumpy()
    return run


if __name__ == "__main__":
    main()
