"""How long a training step must take at least: its products of matrices, as fast as this machine multiplies.

Only those count that grow with channels times channels: convolutions but for depthwise ones, dense layers, LSTMs.
"""
from mindspore import nn

from utils.cpu_ops.speed import products


def gflop_of(network, *inputs):
    """Of a training step on `inputs`, in PyNative mode and in plain layers; those of the loss are none to speak of.

    The gradient of a product is two products; the network's first layer needs none for its input.
    """
    counts = []

    def count(cell, _, output):
        counts.append(operations(cell, output[0] if isinstance(output, tuple) else output))

    for _, cell in network.cells_and_names():
        if isinstance(cell, (nn.Conv1d, nn.Conv2d, nn.Dense, nn.LSTM)):
            cell.register_forward_hook(count)
    network.set_train(False)(*inputs)
    return 1e-9 * (3 * sum(counts) - counts[0])


def operations(cell, output):
    """Of a layer's products, forward: two for each weight and each place where it is used."""
    if isinstance(cell, nn.LSTM):
        weights = [*cell.w_ih_list, *cell.w_hh_list]
        return 2 * sum(weight.size for weight in weights) * output.shape[0] * output.shape[1]
    return 2 * cell.weight.size * output.size // cell.weight.shape[0]


def print_limits(gflop, results, cores):
    """Prints the table of what share of a step's seconds, and of its CPU seconds, its products alone would take.

    gflop: {network: of a step}; results: {network: {program: Times}}; cores: how many the steps were bound to.
    """
    speed = products(cores)
    kinds = {program: "bfloat16" if program.endswith("bf16") else "float32" for program in next(iter(results.values()))}
    print(f"\nProducts alone, at {speed['float32']:.0f} GFLOPS of {cores} cores in float32 and {speed['bfloat16']:.0f} "
          "in bfloat16, and their share of the steps:\n")
    heads = [f"{kind} products" for kind in speed if kind in kinds.values()] + list(kinds)
    print(f"| | GFLOP | {' | '.join(heads)} |")
    print("|---" * (2 + len(heads)) + "|")
    for name, times in results.items():
        least = {kind: gflop[name] / speed[kind] for kind in speed}
        columns = [f"{least[kind]:.2f} s" for kind in speed if kind in kinds.values()]
        columns += [f"{least[kinds[program]] / took.seconds:.2f} ({cores * least[kinds[program]] / took.processor:.2f})"
                    for program, took in times.items()]
        print(f"| {name} | {gflop[name]:.0f} | {' | '.join(columns)} |")
