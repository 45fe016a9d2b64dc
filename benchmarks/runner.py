"""The C++ runner beside Python and PyTorch, with the same weights and cores: three tables.

    python benchmarks/runner.py [--table network] [--only ecapatdnn] [--rounds 3] [--repeat 20]

network: one recording in memory; programs: whole programs on recordings of 30 s and of 10 min, with the checkpoints
that ship; live: text and speakers while the sound arrives.

Every program runs in a process of its own that is bound to 1 or 2 cores; the programs take turns, `rounds` times, and
the medians of the rounds count: by the clock, and of all cores together (CPU), which holds on a shared machine too.
PyTorch is left out where it is not installed (pip install torch==2.13.0).
"""
import argparse
import subprocess
import tempfile

import runner_live
import runner_network
import runner_programs
from side_by_side import RUNNER, print_machine

MODELS = ["ecapatdnn", "conv_tasnet", "deepspeech2"]
TABLES = {"network": runner_network, "programs": runner_programs, "live": runner_live}


def main():
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", help="one instead of all", choices=TABLES)
    parser.add_argument("--only", help="one network instead of all", choices=MODELS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeat", type=int, default=20, help="timed runs of a round, of the network's table")
    parser.add_argument("--checkpoint", help="of a unidirectional DeepSpeech2 trained on the mini corpus: the live "
                                             "table is followed by the latency of its words")
    parser.add_argument("--worker", nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        TABLES[args.worker[0]].worker(*args.worker[1:], args)
        return
    print_machine()
    subprocess.run(["bash", RUNNER.parent.parent / "build.sh"], check=True, capture_output=True)
    for table in [args.table] if args.table else TABLES:
        with tempfile.TemporaryDirectory() as folder:
            TABLES[table].table([args.only] if args.only else MODELS, folder, args)
        print()


if __name__ == "__main__":
    main()
