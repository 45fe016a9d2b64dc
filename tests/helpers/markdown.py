"""Markdown documents as a reader sees them: headings with their anchors, links, tables, code blocks, commands."""
import re
import subprocess
from typing import NamedTuple

from helpers.documents import ROOT

# first lines of blocks that need an Ascend
NOT_RUN = ("# not run by us", "# 我们没有运行过")
_FENCE = re.compile(r"^```(\w*) *([^\n]*)\n(.*?)^```$", re.M | re.S)


class Block(NamedTuple):
    """A code block: the language and the mark after its fence, and its text."""

    document: str
    line: int
    language: str
    mark: str
    text: str

    @property
    def needs_ascend(self) -> bool:
        """Whether it says that it was not run, for want of an Ascend."""
        return self.text.startswith(NOT_RUN)

    def plain(self) -> tuple[str, str, str]:
        """What both languages share: all but comments."""
        return self.language, self.mark, re.sub(r"(?:^|\s+)# .*", "", self.text, flags=re.M)

    def commands(self) -> list[str]:
        """The lines of a shell block, joined where they go on, without comments and settings of the environment."""
        text = re.sub(r" > \S+ <<'(\w+)'\n.*?\n\1$", "", self.text, flags=re.M | re.S)      # what a file is written of
        lines = re.sub(r"\s+# .*|^# .*", "", text.replace("\\\n", ""), flags=re.M).splitlines()
        parts = (part.strip(" ()") for line in lines
                 for part in ([line] if " -c " in line else re.split(r" && |; ", line)))
        return [re.sub(r"^(?:\w+=\S*\s+)+(?=\S)", "", part) for part in parts if part]


def documents() -> list[str]:
    """All Markdown files of the repository, as paths below it."""
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "*.md"], cwd=ROOT, check=True,
                            capture_output=True, text=True).stdout.split("\n")
    return sorted(name for name in listed if name and (ROOT / name).is_file())


def read(document: str) -> str:
    """The text of a document."""
    return (ROOT / document).read_text(encoding="utf-8")


def blocks(document: str) -> list[Block]:
    """The code blocks of a document, in their order."""
    text = read(document)
    return [Block(document, text.count("\n", 0, match.start()) + 1, *match.groups()) for match in _FENCE.finditer(text)]


def prose(text: str) -> str:
    """`text` without its code blocks."""
    return _FENCE.sub("", text)


def headings(text: str) -> list[tuple[int, str]]:
    """[(level, title)] of a document, without what only looks like a heading inside code blocks."""
    return [(len(marks), title.strip()) for marks, title in re.findall(r"^(#+) +(.*)$", prose(text), re.M)]


def anchors(text: str) -> set[str]:
    """The names by which GitHub links to headings: letters of any script, digits, - and _; spaces become -."""
    found: dict[str, int] = {}
    names = set()
    for _, title in headings(text):
        title = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title)       # a link's text
        name = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        number = found.get(name, 0)
        found[name] = number + 1
        names.add(f"{name}-{number}" if number else name)
    return names | set(re.findall(r'<a (?:id|name)="([^"]+)"', text))


def links(text: str) -> list[str]:
    """Targets of all links and pictures, but those in code."""
    text = re.sub(r"`[^`\n]*`", "", prose(text))
    return re.findall(r"\]\(<?([^)>\s]+)[^)]*\)", text) + re.findall(r'(?:src|href)="([^"]+)"', text)
