"""Who said what in a recording: python who_said_what.py meeting.wav; the program meeting/infer.py."""
import sys

from meeting.infer import main
from utils.errors import run

if __name__ == "__main__":
    run(main, sys.argv[1:])
