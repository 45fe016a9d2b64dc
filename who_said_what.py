"""Who said what in a recording: python who_said_what.py meeting.wav; the program meeting/infer.py."""
from meeting.infer import command

if __name__ == "__main__":
    command()
