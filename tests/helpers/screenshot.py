"""Draws the page of app/ with the meeting that ships: PYTHONPATH=tests python -m helpers.screenshot picture.png."""
import shutil
import sys

from playwright.sync_api import sync_playwright  # pyright: ignore[reportMissingImports]: of requirements-dev.txt

from helpers.served import running

WIDTH = 760     # pixels; narrow, so that letters stay legible where the picture is shown small


def main(path: str) -> None:
    """Writes the picture."""
    with running() as (_, address), sync_playwright() as started:
        browser = started.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": 600}, locale="en-GB")
        page.goto(f"http://{address}/#meeting")
        page.get_by_role("button", name="meeting.flac").click()
        page.locator("#meeting .input audio[src]").wait_for()
        page.click("#meeting .go")
        page.locator("#meeting .turns").wait_for(timeout=300_000)
        page.screenshot(path=path, full_page=True)


if __name__ == "__main__":
    main(sys.argv[1])
