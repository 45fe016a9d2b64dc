"""The page of app/ in Chromium, with a microphone that plays a file."""
import re
import shutil
import signal

import numpy as np
import pytest
import soundfile
from helpers.documents import ROOT
from helpers.served import children, networks, running, serving, wait_for

for name in ("fastapi", "uvicorn", "websockets"):
    pytest.importorskip(name, reason=f'{name} is not installed; pip install -e ".[app]"')
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = playwright.expect
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
if not CHROMIUM:
    pytest.skip("no Chromium; apt-get install chromium", allow_module_level=True)

SPEECH = ROOT / "deepspeech2" / "samples" / "command.wav"
WORDS = "ERASE P Q Y V T FIVE NINETY EIGHT"


@pytest.fixture
def open_page(tmp_path):
    """A function: the page of an address, where the microphone plays a wav once; what is wrong with it, in the end."""
    wrong, places = [], set()
    with playwright.sync_playwright() as started:
        def page(address, wav, **context):
            browser = started.chromium.launch(executable_path=CHROMIUM, args=[
                "--no-sandbox", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream",
                f"--use-file-for-fake-audio-capture={wav}%noloop"])
            opened = browser.new_context(**context).new_page()
            opened.on("console", lambda message: wrong.append(message.text)
                      if message.type == "error" and "status of 4" not in message.text else None)
            opened.on("pageerror", lambda error: wrong.append(str(error)))
            opened.on("request", lambda request: places.add(re.sub(r"^(\w+://[^/]*|\w+:).*", r"\1", request.url)))
            opened.goto(f"http://{address}/")
            return opened

        yield page
    assert wrong == []
    assert all(place.startswith(("http://127.0.0.1:", "blob:", "data:")) for place in places), places


def use(page, tab, *samples):
    """Opens a tab and computes the samples, or the files, of its inputs."""
    page.click(f"#tab-{tab}")
    for number, sample in enumerate(samples):
        box = page.locator(f"#{tab} .input").nth(number)
        before = box.locator("audio").get_attribute("src")
        if isinstance(sample, str):
            box.get_by_role("button", name=sample).click()
        else:
            box.locator("input[type=file]").set_input_files(sample)
        expect(box.locator("audio")).not_to_have_attribute("src", before or "")
        box.locator("audio[src]").wait_for()
    page.click(f"#{tab} .go")
    expect(page.locator(f"#{tab} .go")).to_be_enabled(timeout=60_000)
    return page.inner_text(f"#{tab} .result"), page.inner_text(f"#{tab} > .status")


def test_the_page_speaks_two_languages_wide_and_narrow(monkeypatch, open_page, tmp_path):
    networks(monkeypatch)
    bad = tmp_path / "bad.wav"
    bad.write_bytes(SPEECH.read_bytes()[:5000])
    with serving() as address:
        page = open_page(address, SPEECH, locale="en-GB", viewport={"width": 1100, "height": 800})
        assert page.title() == "MindSpore speech zoo"
        page.click("#verify .go")
        assert "Choose a recording first" in page.inner_text("#verify > .status")
        result, status = use(page, "verify", "speaker1_a.wav", ROOT / "ecapatdnn" / "samples" / "speaker1_a.wav")
        assert "One speaker" in result and "0.900" in result and status.startswith("Done in")
        assert "log-likelihood ratio 3.00: 20 times as likely" in result
        assert "not calibrated" in use(page, "verify", "speaker2.wav", "speaker1_a.wav")[0]
        assert "one two three four" in use(page, "transcribe", "command.wav")[0]
        page.click("#language")
        assert page.evaluate("document.documentElement.lang") == "zh-CN"
        page.click("#tab-verify")
        assert "两个人" in page.inner_text("#verify .result") and "用时" in page.inner_text("#verify > .status")
        page.set_viewport_size({"width": 340, "height": 700})
        separated = use(page, "separate", "mixture.wav")[0]
        assert "声音 1 -40.0 dB, 没有人" in separated and "声音 2 12.0 dB 下载" in separated
        assert page.locator("#separate .voice audio").count() == 2
        for tab in ("verify", "separate", "transcribe", "meeting"):
            page.click(f"#tab-{tab}")
            assert page.evaluate("document.documentElement.scrollWidth") <= 340, tab
        assert "bad.wav: truncated" in use(page, "transcribe", bad)[1]
        page.reload()
        assert page.evaluate("document.documentElement.lang") == "zh-CN"


def test_an_answer_is_of_the_recording_that_is_chosen(monkeypatch, open_page):
    """The old one goes when another is chosen; so does one that is still computed."""
    nets = networks(monkeypatch)
    with serving() as address:
        page = open_page(address, SPEECH, locale="en-GB")
        result, status = page.locator("#transcribe .result"), page.locator("#transcribe > .status")
        go = "#transcribe .go"
        use(page, "transcribe", "command.wav")
        expect(result).to_contain_text("one two")
        page.get_by_role("button", name="spelled.wav").click()
        expect(result).to_be_empty()
        page.click("#language")
        expect(result).to_be_empty()
        nets.go.clear()
        page.click(go)
        wait_for(lambda: len(nets.calls) == 2)
        expect(page.locator(go)).to_be_disabled()
        page.get_by_role("button", name="command.wav").click()
        expect(page.locator(go)).to_be_enabled()
        nets.go.set()
        page.wait_for_timeout(500)
        expect(result).to_be_empty()
        expect(status).to_be_empty()
        page.click(go)
        expect(result).to_contain_text("one two")


def test_what_is_drawn_again_or_fails_holds_neither_memory_nor_the_microphone(monkeypatch, open_page):
    networks(monkeypatch)
    with serving() as address:
        page = open_page(address, SPEECH, locale="en-GB")
        page.evaluate("""() => {
          window.addresses = new Set();
          const [make, free] = [URL.createObjectURL, URL.revokeObjectURL];
          URL.createObjectURL = (blob) => { const address = make(blob); addresses.add(address); return address; };
          URL.revokeObjectURL = (address) => { addresses.delete(address); free(address); };
          const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
          navigator.mediaDevices.getUserMedia = async (wanted) => window.microphone = await open(wanted);
          AudioWorklet.prototype.addModule = async () => { throw new Error("no worklet"); };
        }""")
        use(page, "separate", "mixture.wav")
        for _ in range(3):
            page.click("#language")
        assert page.evaluate("addresses.size") == 3     # of the recording and two voices
        page.get_by_role("button", name="mixture.wav").click()
        expect(page.locator("#separate .result")).to_be_empty()
        wait_for(lambda: page.evaluate("addresses.size") == 1)
        page.locator("#separate .input .row button").nth(1).click()
        expect(page.locator("#separate > .status")).to_contain_text("no worklet")
        assert page.evaluate("microphone.getTracks().map((track) => track.readyState)") == ["ended"]


def test_the_page_opens_whatever_was_saved_or_is_linked(monkeypatch, open_page):
    networks(monkeypatch)
    with serving() as address:
        page = open_page(address, SPEECH, locale="en-GB")
        for saved, place, tab in (("xx", "#separate", "separate"), ("constructor", "#language", "verify"),
                                  ("zh", "#speakers", "verify"), ("en", "#nowhere", "verify")):
            page.evaluate("language => localStorage.setItem('language', language)", saved)
            page.goto("about:blank")
            page.goto(f"http://{address}/{place}")
            expect(page.locator("[role=tabpanel]:visible")).to_have_attribute("id", tab)
            assert page.evaluate("document.documentElement.lang") == ("zh-CN" if saved == "zh" else "en")


def test_the_microphone_is_recorded_and_streamed(monkeypatch, open_page):
    networks(monkeypatch)
    with serving() as address:
        page = open_page(address, SPEECH)
        page.click("#tab-transcribe")
        page.click("#speak")
        expect(page.locator("#live")).to_contain_text("one two", timeout=30_000)
        page.click("#speak")
        expect(page.locator("#live .partial")).to_be_empty()
        assert page.inner_text("#live .final").startswith("one two")
        record = page.locator("#transcribe .input .row button").nth(1)
        record.click()
        page.wait_for_timeout(1500)
        record.click()
        page.locator("#transcribe .input audio[src]").wait_for()
        page.click("#transcribe .go")
        expect(page.locator("#transcribe .result")).to_contain_text("one", timeout=30_000)


@pytest.mark.slow
def test_every_tab_answers_with_the_networks_that_ship(open_page, tmp_path):
    speech, rate = soundfile.read(SPEECH)
    soundfile.write(tmp_path / "talk.wav", np.concatenate([np.zeros(2 * rate), speech, np.zeros(4 * rate)]), rate)
    meeting, rate = soundfile.read(ROOT / "meeting" / "samples" / "meeting.flac")
    soundfile.write(tmp_path / "Anna.wav", meeting[round(7.5 * rate):round(10.3 * rate)], rate)     # who begins it
    with running() as (_, address):
        page = open_page(address, tmp_path / "talk.wav", locale="en-GB")
        page.set_default_timeout(60_000)
        assert "One speaker" in use(page, "verify", "speaker1_a.wav", "speaker1_b.wav")[0]
        assert "Two speakers" in use(page, "verify", "speaker1_a.wav", "speaker2.wav")[0]
        assert "Voice 2" in use(page, "separate", "mixture.wav")[0]
        assert WORDS in use(page, "transcribe", SPEECH)[0]
        page.click("#tab-meeting")
        page.fill("#speakers", "3")
        page.locator("#enrol ~ input").set_input_files(tmp_path / "Anna.wav")
        assert page.inner_text("#enrolled") == "Anna"
        assert "Anna ENTER EIGHT NINE HEVEN" in use(page, "meeting", "meeting.flac")[0]
        page.click("#tab-transcribe")
        page.click("#speak")
        expect(page.locator("#live .partial")).to_contain_text("ERASE", timeout=30_000)
        expect(page.locator("#live .final")).to_contain_text(WORDS, timeout=30_000)


@pytest.mark.slow
def test_a_killed_server_leaves_nothing_and_starts_again():
    from websockets.sync.client import connect

    with running() as (process, address), connect(f"ws://{address}/api/live") as client:
        client.send(bytes(32000))
        client.recv(20)
        assert len(children(process)) >= 2
        process.send_signal(signal.SIGKILL)
        process.wait()
        wait_for(lambda: not children(process))
    with running(address.split(":")[1]) as (_, again):
        assert again == address
