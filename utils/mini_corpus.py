"""Makes the small synthetic corpus of utils/corpora/mini.py: python utils/mini_corpus.py OUT_DIR [--seed 0]."""
import sys
from pathlib import Path

from utils.command_line import Parser
from utils.corpora.mini import MARKER, make_mini_corpus
from utils.errors import run
from utils.ranges import Range, number
from utils.texts import read_text


def main(argv: list[str]) -> None:
    """Makes the corpus, or finds it finished, and prints what it holds."""
    parser = Parser(description="Make a small synthetic speech corpus.")
    parser.add_argument("out_dir", help="folder of the corpus, made where it is not there")
    parser.add_argument("--seed", type=number("--seed", Range(0, 2 ** 32 - 1), int), default=0,
                        help="of the voices and the sentences (%(default)s)")
    args = parser.parse_args(argv)
    folder = make_mini_corpus(args.out_dir, args.seed)
    print(f"{folder}: {read_text(Path(folder) / MARKER, 'its record')}")


if __name__ == "__main__":
    run(main, sys.argv[1:])
