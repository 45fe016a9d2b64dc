"""The server of app/: its API, its limits, live text, and what an error looks like."""
import base64
import io
import json
import os
import re
import shutil
import socket
import subprocess
import sysconfig
import tempfile
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from helpers.documents import ROOT
from helpers.encode import encode
from helpers.errors import refused
from helpers.served import children, networks, running, serving, wait_for, word

from app.src.live import KEPT, LONGEST, STEP, LiveTranscriber, find_cut, has_speech
from utils.audio.decoders import FFmpegDecoder
from utils.audio.stream import AudioError
from utils.errors import OutputError, SettingError, UnsupportedError

for name in ("fastapi", "uvicorn", "websockets", "httpx", "python_multipart"):
    pytest.importorskip(name, reason=f'{name} is not installed; pip install -e ".[app]" httpx')

import httpx  # noqa: E402
from websockets.exceptions import ConnectionClosed  # noqa: E402
from websockets.sync.client import connect  # noqa: E402

import meeting  # noqa: E402
from app import serve  # noqa: E402
from app.src import models  # noqa: E402
from app.src.answers import Meeting  # noqa: E402
from meeting.src.turns import Turn, Word, as_json  # noqa: E402


def sound(seconds=2.0, rate=8000, form="WAV"):
    """A file of noise that comes and goes, as bytes."""
    file, count = io.BytesIO(), round(seconds * rate)
    soundfile.write(file, np.random.default_rng(1).normal(0, 0.05, count) * (np.arange(count) % rate < rate / 2), rate,
                    format=form)
    return file.getvalue()


def pcm(seconds, rate=16000):
    """Likewise, as a stream has it."""
    samples = soundfile.read(io.BytesIO(sound(seconds, rate)))[0]
    return (samples * 2 ** 15).astype("<i2").tobytes()


@pytest.fixture
def nets(monkeypatch):
    return networks(monkeypatch)


@pytest.fixture
def address(nets):
    with serving() as place:
        yield place


def post(address, path, headers=None, **files):
    return httpx.post(f"http://{address}{path}", files=files, headers=headers, timeout=20)


def assert_line(answer, status, *names):
    """An error of the API: the status, and one line that holds `names`."""
    assert answer.status_code == status, answer.text
    assert list(answer.json()) == ["error"] and "\n" not in answer.json()["error"]
    assert [name for name in names if name not in answer.json()["error"]] == [], answer.json()


# ---- answers


def test_recordings_are_answered(address, monkeypatch):
    turn = {"start": 0.1, "end": 1.0, "speaker": "speaker1", "text": "one", "words": []}
    monkeypatch.setattr(models, "who_said_what", lambda upload, count, voices: {
        "seconds": len(upload.content), "overlap_seconds": 0, "turns": [turn], "real_time_factor": 0.5,
        "speakers": [voice.name for voice in voices] or ["speaker1"] * (count or 1)})
    assert post(address, "/api/verify", first=sound(1), second=sound(1)).json() == {
        "score": 0.9, "threshold": 0.5, "same": True, "llr": 3.0}
    assert not post(address, "/api/verify", first=sound(1), second=sound(2)).json()["same"]
    for form in ("WAV", "FLAC", "OGG", "MP3"):
        found = post(address, "/api/transcribe", file=sound(3, 16000, form)).json()
        assert found["text"] == "one two three" and abs(found["seconds"] - 3) < 0.1
        assert found["words"][1] == {"text": "two", "start": 1.2, "end": 1.9}
    separated = post(address, "/api/separate", file=sound(2, 44100)).json()
    voices = [soundfile.read(io.BytesIO(base64.b64decode(voice))) for voice in separated["voices"]]
    assert [(len(samples), rate) for samples, rate in voices] == [(88200, 44100)] * 2
    assert np.abs(voices[0][0]).max() < np.abs(voices[1][0]).max() <= 1
    assert np.std(voices[1][0]) / np.std(voices[0][0]) == pytest.approx(400, rel=0.05)      # as far apart as the levels
    assert np.round(separated["levels"], 2).tolist() == [-40, 12.04] and separated["audible"] == [False, True]
    archive = zipfile.ZipFile(io.BytesIO(post(address, "/api/separate.zip", file=sound(2)).content))
    assert archive.namelist() == ["voice1.wav", "voice2.wav"]
    assert soundfile.info(io.BytesIO(archive.read("voice2.wav"))).frames == 16000
    assert post(address, "/api/meeting", file=b"12345").json()["seconds"] == 5
    assert post(address, "/api/meeting?num_speakers=3", file=b"1").json()["speakers"] == ["speaker1"] * 3
    voices = [("enrol", (name, b"1")) for name in ("anna.wav", "../Bjørn.flac")]
    answer = httpx.post(f"http://{address}/api/meeting", files=[("file", b"1"), *voices])
    assert answer.json()["speakers"] == ["anna.wav", "Bjørn.flac"]
    assert_line(httpx.post(f"http://{address}/api/meeting", files=[("file", b"1"), *voices * 11]), 422, "enrol: ")


def test_who_said_what_is_answered_as_infer_py_writes_it(nets, monkeypatch):
    found = meeting.WhoSaidWhat([Turn(0.5, 2.0, "speaker1", "one", (Word(0.6, 0.9, "one"),))], 8.0, 4.0, 1.0, 2.0)
    monkeypatch.setattr(meeting, "Transcriber", lambda *_: SimpleNamespace(transcribe=lambda *_, **__: found))
    answer = Meeting(**models.who_said_what(models.Upload("talk.wav", sound()), None, [])).model_dump()
    assert answer == as_json(found.turns) | {"seconds": 8.0, "overlap_seconds": 1.0, "real_time_factor": 0.25}


@pytest.mark.parametrize("given, taken", [(None, "noisy"), ("runs/mine", "runs/mine")])
def test_a_meeting_takes_the_separator_of_meetings_unless_one_is_given(nets, monkeypatch, given, taken):
    monkeypatch.setattr(models, "_checkpoints", models.Checkpoints(conv_tasnet=given))
    found, made = meeting.WhoSaidWhat([], 8.0, 4.0, 1.0, 2.0), []
    monkeypatch.setattr(meeting, "Transcriber", lambda *parts: made.append(parts) or SimpleNamespace(
        transcribe=lambda *_, **__: found))
    models.who_said_what(models.Upload("talk.wav", sound()), None, [])
    assert [separator.checkpoint for _, separator, *_ in made] == [taken]


def test_what_cannot_be_answered_is_one_line(address, monkeypatch):
    assert_line(post(address, "/api/transcribe", file=("talk.wav", b"hello, this is text")), 422, "talk.wav: ", "text")
    assert_line(post(address, "/api/transcribe", file=("talk.wav", sound()[:2000])), 422, "talk.wav: truncated")
    assert_line(post(address, "/api/transcribe", file=("", b"")), 422, "file: ")
    assert_line(post(address, "/api/verify", first=sound()), 422, "second: ")
    assert_line(post(address, "/api/meeting?num_speakers=0", file=sound()), 422, "num_speakers: ")
    assert_line(httpx.post(f"http://{address}/api/transcribe", content=b"x", headers={
        "content-type": "multipart/form-data"}), 400, "boundary")
    monkeypatch.setattr(models, "MINUTES", 1 / 60)
    assert_line(post(address, "/api/separate", file=("talk.wav", sound(1.5))), 422, "talk.wav: ", "minutes")
    assert_line(httpx.get(f"http://{address}/api/nothing"), 404)


def test_no_more_of_a_long_recording_is_decoded_than_shows_that_it_is_long(monkeypatch, tmp_path):
    path = Path(encode(tmp_path / "a.m4a", np.zeros(5 * 16000), 16000, "aac"))
    decoded, read = [], FFmpegDecoder.read
    monkeypatch.setattr(models, "MINUTES", 1 / 60)
    monkeypatch.setattr(FFmpegDecoder, "read", lambda self, count: decoded.append(count) or read(self, count))
    with refused(AudioError, "talk.m4a", "minutes"), models.as_path(models.Upload("talk.m4a", path.read_bytes())):
        pass
    assert sum(decoded) <= 2 * 16000


def test_a_defect_shows_nothing_of_the_machine(address, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(models, "_separator", lambda checkpoint: 1 / 0)
    assert_line(post(address, "/api/separate", file=sound()), 500, "the server failed")
    wait_for(lambda: "unexpected ZeroDivisionError" in capsys.readouterr().err)


def test_no_name_of_a_client_is_a_path(address, nets, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    answer = post(address, "/api/transcribe", file=("../../<b>\r\n/etc/passwd", b"no sound at all"))
    assert_line(answer, 422, "passwd: ")
    assert "/" not in answer.json()["error"].split(": ")[0]
    for path in ("/samples/../pyproject.toml", "/samples/%2e%2e%2fpyproject.toml", "/samples/..%5cpyproject.toml",
                 "/static/../src/models.py", "/static/%2e%2e/src/models.py", "/static/..%2fsrc%2fmodels.py"):
        with socket.create_connection(address.split(":")) as client:       # httpx would resolve the dots
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n".encode())
            assert client.recv(100).startswith(b"HTTP/1.1 404"), path
    nets.go.clear()
    with start_post(address, "/api/transcribe", sound()):
        wait_for(lambda: nets.calls)
        assert list(tmp_path.iterdir()) == []       # also while it is computed
        nets.go.set()


def test_other_sites_cannot_use_it(address):
    assert_line(post(address, "/api/transcribe", {"Origin": "http://example.org"}, file=sound()), 403, "origin")
    assert post(address, "/api/transcribe", {"Origin": f"http://{address}"}, file=sound()).status_code == 200
    assert httpx.get(f"http://{address}/", headers={"Host": "example.org"}).status_code == 400
    assert_line(httpx.get(f"http://{address}/", headers={"Host": "example.org"}), 400, "example.org", "--name")
    for origin in ("http://example.org", "http://[", "null"):
        assert_line(post(address, "/api/transcribe", {"Origin": origin}, file=sound()), 403, "origin", origin)
        with connect(f"ws://{address}/api/live", origin=origin) as client:
            assert "origin" in json.loads(client.recv())["error"]


def test_a_proxy_shows_it_under_the_names_that_were_given(nets):
    """Whether it passes the name on as Host or not; a port belongs to the page's name alone."""
    with serving(names=serve.names_of(["Speech.example.org,other.example.org:8443"])) as address:
        def status(origin, host=address):
            return post(address, "/api/transcribe", {"Origin": origin, "Host": host}, file=sound()).status_code

        assert [status("https://speech.example.org", host) for host in (address, "speech.example.org")] == [200, 200]
        assert [status("https://other.example.org:8443", host) for host in (address, "other.example.org")] == [200, 200]
        assert status("https://other.example.org") == status("https://x.speech.example.org") == 403
        assert status(f"http://{address}", "example.org") == 400
        with connect(f"ws://{address}/api/live", origin="https://speech.example.org") as client:
            client.send("end")
            assert json.loads(client.recv())["final"] == ""


# ---- limits


def start_post(address, path, content, promised=None):
    """A socket on which a form has been sent, `promised` bytes more are said to come."""
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    body = head + content + (b"\r\n--x--\r\n" if promised is None else b"")
    client = socket.create_connection(address.split(":"))
    client.sendall(f"POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: multipart/form-data; boundary=x\r\n"
                   f"Content-Length: {len(body) + (promised or 0)}\r\n\r\n".encode() + body)
    return client


def test_large_bodies_are_refused_before_they_are_there(nets):
    with serving(limits={"megabytes": 0.1}) as address:
        assert post(address, "/api/transcribe", file=sound(5)).status_code == 200
        assert_line(post(address, "/api/transcribe", file=sound(10)), 413, "0.1 MB")
        with start_post(address, "/api/transcribe", b"", 10 ** 9) as client:
            assert client.recv(100).startswith(b"HTTP/1.1 413")
        head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
        chunked = httpx.post(f"http://{address}/api/transcribe", content=iter([head, *[b"x" * 60_000] * 2]),
                             headers={"content-type": "multipart/form-data; boundary=x"})
        assert_line(chunked, 413)


def test_who_sends_nothing_frees_the_place(nets):
    with serving(limits={"requests": 1, "idle": 2}) as address:
        with start_post(address, "/api/transcribe", b"", 1000) as client:
            wait_for(lambda: post(address, "/api/transcribe", file=sound()).status_code == 503)
            assert client.recv(100).startswith(b"HTTP/1.1 408")
        assert post(address, "/api/transcribe", file=sound()).status_code == 200


def test_connections_that_bring_no_request_or_take_no_answer_are_closed(nets):
    with serving(idle=1) as address:
        for start in ("", "GET / HTTP/1.1\r\nHo", f"GET / HTTP/1.1\r\nHost: {address}\r\n\r\nGET /"):
            with socket.create_connection(address.split(":"), timeout=10) as client:
                client.sendall(start.encode())
                while client.recv(2 ** 16):
                    pass
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect((address.split(":")[0], int(address.split(":")[1])))
            client.sendall(f"GET /samples/meeting.flac HTTP/1.1\r\nHost: {address}\r\n\r\n".encode())
            time.sleep(3)
            with pytest.raises(ConnectionResetError):
                while client.recv(2 ** 16):
                    pass


def test_an_address_of_ipv6_answers_to_its_own_name_only(nets):
    try:
        serve.listen("::1", 0).close()
    except OutputError:
        pytest.skip("this machine has no IPv6")
    with serving(host="::1") as address:
        assert post(address, "/api/verify", first=sound(), second=sound()).status_code == 200
        assert text_of(talk(address, pcm(2), "end")) == "one two"
        assert httpx.get(f"http://{address}/", headers={"Host": "example.org"}).status_code == 400


def test_who_goes_away_frees_the_place_and_what_has_not_begun_never_does(nets):
    nets.go.clear()
    with serving(limits={"requests": 2}) as address:
        running = start_post(address, "/api/transcribe", sound())
        wait_for(lambda: nets.calls == ["transcribe"])
        waiting = start_post(address, "/api/separate", sound())

        def busy():     # a form that lacks a field is answered at once
            return post(address, "/api/verify", first=b"no").status_code == 503

        wait_for(busy)
        answer = post(address, "/api/verify", first=b"no", second=b"no")
        assert_line(answer, 503, "busy: 2")
        assert answer.headers["retry-after"]
        waiting.close()
        wait_for(lambda: not busy())
        running.close()
        nets.go.set()
        assert post(address, "/api/verify", first=sound(), second=sound()).status_code == 200
        assert nets.calls == ["transcribe", "verify"]


# ---- live text


def talk(address, *messages, query="?rate=16000"):
    """What comes back for messages over a WebSocket, until it is closed."""
    updates = []
    with connect(f"ws://{address}/api/live{query}") as client:
        try:
            for message in messages:
                client.send(message)
            while True:
                updates.append(json.loads(client.recv(10)))
        except ConnectionClosed:
            return updates


def text_of(updates):
    return "".join(item["final"] for item in updates)


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_text_grows_while_sound_comes(address, rate):
    stream, size = pcm(4, rate), 2 * rate
    updates = talk(address, *(stream[i:i + size] for i in range(0, len(stream), size)), "end", query=f"?rate={rate}")
    partial = list(dict.fromkeys(item["partial"] for item in updates if item["partial"]))
    assert text_of(updates) == "one two three four" and updates[-1]["end"] and updates[-1]["seconds"] == 4
    assert partial == sorted(partial, key=len) and set(partial) <= {"one", "one two", "one two three",
                                                                   "one two three four"}
    assert models._sessions == {}


@pytest.mark.slow
def test_a_unidirectional_network_goes_on_step_by_step():
    """Two who speak by turns through one network get what each gets alone."""
    from deepspeech2.src.config import Config
    from deepspeech2.src.decoder import make_decoder
    from deepspeech2.src.inference import Recognizer
    from deepspeech2.src.model import DeepSpeech2
    from deepspeech2.src.text import Alphabet

    config = Config(bidirectional=False, hidden_size=32, hidden_layers=1)
    recognizer = Recognizer(DeepSpeech2(config), config, make_decoder(config, Alphabet(config.labels)))
    streams = pcm(3), pcm(3)[16000:]
    lives = [LiveTranscriber(recognizer, 16000) for _ in streams]
    texts = [[], []]
    for start in range(0, len(streams[0]), 8000):
        for text, live, stream in zip(texts, lives, streams, strict=True):
            text.append(live.push(stream[start:start + 8000]).final)
    for text, live, stream in zip(texts, lives, streams, strict=True):
        found = "".join([*text, live.finish().final])
        segments = recognizer.transcribe_stream([np.frombuffer(stream, "<i2")], seconds=STEP, timestamps=True)
        assert found == " ".join(word.text for segment in segments for word in segment.words)


def test_no_sound_has_no_text(address):
    assert text_of(talk(address, bytes(32000 * 4), "end")) == ""
    assert text_of(talk(address, "end")) == ""


@pytest.mark.parametrize(("query", "messages", "name"), [
    ("", [b""], "16 bits"), ("?rate=7", [], "8000 to 192000"), ("?rate=-1", [], "rate"), ("?rate=٣٢٠٠٠", [], "rate"),
    ("", [b"odd"], "16 bits"), ("", ["stop"], "end")])
def test_what_is_no_stream_is_one_line(address, query, messages, name):
    updates = talk(address, *messages, query=query)
    assert list(updates[-1]) == ["error"] and name in updates[-1]["error"]
    assert models._sessions == {}


def test_speakers_are_few_and_who_stalls_or_vanishes_frees_the_place(nets):
    with serving(live={"sessions": 1, "idle": 3, "minutes": 0.05}) as address:
        with connect(f"ws://{address}/api/live") as client:
            wait_for(lambda: models._sessions)
            assert "busy" in talk(address)[-1]["error"]
            assert "nothing came" in json.loads(client.recv(5))["error"]
        wait_for(lambda: not models._sessions)
        client = connect(f"ws://{address}/api/live")
        wait_for(lambda: models._sessions)
        client.socket.close()
        wait_for(lambda: not models._sessions)
        assert "minutes" in talk(address, pcm(4))[-1]["error"]
        wait_for(lambda: not models._sessions)
        assert text_of(talk(address, pcm(2), "end")) == "one two"


def test_who_sends_next_to_nothing_is_bounded_by_the_clock(nets):
    with serving(live={"idle": 1, "minutes": 0.01}) as address, connect(f"ws://{address}/api/live") as client:
        begun = time.monotonic()
        with pytest.raises(ConnectionClosed):
            while time.monotonic() < begun + 10:
                client.send(bytes(2))
                time.sleep(0.2)
        assert "minutes" in json.loads(client.recv(5))["error"]


@pytest.mark.parametrize("spaced", [True, False])
def test_what_is_final_and_what_follows_it_make_the_whole_text(nets, spaced):
    """Plainly appended, whatever was cut between two words."""
    recognizer, space = models._recognizer(None), " " if spaced else ""
    recognizer.alphabet.spaced = spaced
    live, text, shown = LiveTranscriber(recognizer, 16000), "", []
    said = iter([[word("one", 0, 4.5)], [word("one", 0, 1), word("two", 1, 2)], [word("three", 4, 4.5)], [],
                 [word("three", 1, 2)], [word("four", 4, 4.5)]])
    live.decoder = SimpleNamespace(words=lambda: next(said), seconds=5, add=len, drop=bool, finish=str)
    for update in (*(live.push(b"") for _ in range(5)), live.finish()):
        text += update.final
        shown.append(text + update.partial)
    assert shown == [space.join(words.split()) for words in (
        "one", "one two", "one two three", "one two", "one two three", "one two three four")] and text == shown[-1]


def test_words_become_final_at_a_pause_or_when_too_much_is_held():
    words = [word(str(i), i, i + 0.5) for i in range(13)]
    words[8].start = 8.4        # the largest gap that is late enough
    assert find_cut([], 1) is None and find_cut([], 3) == (0, 3 - KEPT)
    assert find_cut(words[:3], 2.9) is None
    assert find_cut(words[:3], 4) == (3, 4 - KEPT)
    assert find_cut(words, LONGEST - 0.5) is None
    assert find_cut(words, LONGEST - 0.4 + 0.5)[0] == 13     # a pause
    words.append(word("13", 13, 13.9))
    assert find_cut(words, LONGEST) == (8, pytest.approx((7.5 + 8.4) / 2))


def test_silence_and_even_noise_are_not_speech():
    noise = np.random.default_rng(1).normal(0, 1, 16000).astype(np.float32)
    burst = np.where(np.arange(16000) % 8000 < 4000, noise, 0.05 * noise)
    assert has_speech(0.1 * burst) and not has_speech(0.1 * noise)
    assert not has_speech(0.001 * burst) and not has_speech(noise[:10])


# ---- the process, the program, the page


@pytest.mark.slow
def test_memory_and_files_do_not_grow(monkeypatch, tmp_path):
    """One speaks for two minutes, recordings come meanwhile."""
    def measured(process):
        """Of each process its resident memory in kB, and how many files it has open."""
        return [(int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{number}/status").read_text())[1]),
                 len(os.listdir(f"/proc/{number}/fd"))) for number in (process.pid, *children(process))]

    def post_all(address):
        first, second, mixture, command = ((ROOT / name).read_bytes() for name in (
            "ecapatdnn/samples/speaker1_a.wav", "ecapatdnn/samples/speaker2.wav", "conv_tasnet/samples/mixture.wav",
            "deepspeech2/samples/command.wav"))
        for path, files in [("verify", {"first": first, "second": second}), ("separate", {"file": mixture}),
                            ("transcribe", {"file": command}), ("meeting", {"file": command})]:
            assert post(address, f"/api/{path}", **files).status_code == 200
        return post(address, "/api/transcribe", file=b"no sound").status_code == 422

    speech = (soundfile.read(ROOT / "deepspeech2" / "samples" / "command.wav")[0] * 2 ** 15).astype("<i2").tobytes()
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with running() as (process, address), ThreadPoolExecutor(2) as pool, connect(f"ws://{address}/api/live") as client:
        receiving, posting, before = pool.submit(list, client), pool.submit(post_all, address), None
        for second in range(120):
            place = second * 32000 % len(speech)
            client.send(speech[place:place + 32000])
            time.sleep(1)
            if posting.done():
                assert posting.result()
                before = before or measured(process)        # all graphs are compiled
                posting = pool.submit(post_all, address)
        assert posting.result() and before
        client.send("end")
        assert json.loads(receiving.result()[-1])["end"]
        after = measured(process)
        grown = [now[0] > 1.05 * then[0] or now[1] > then[1] + 2 for then, now in zip(before, after, strict=True)]
        assert not any(grown), (before, after)
        assert list(tmp_path.iterdir()) == []


def test_a_killed_process_is_replaced():
    import asyncio
    import os

    from app.src.workers import Worker, executor_factory
    from utils.errors import RunError

    async def kill():
        worker = Worker(executor_factory(models.Checkpoints()))
        with refused(RunError, "killed"):
            await worker.run(os._exit, 9)
        assert await worker.run(len, "four") == 4
        with refused(RunError, "begin again"):      # what the killed one knew of a session is lost
            await worker.run(models.live_push, "session", b"")
        worker.executor.shutdown()

    asyncio.run(kill())


def test_the_program_says_what_is_missing_or_taken(monkeypatch):
    with serve.listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with refused(OutputError, f"127.0.0.1:{port}", "--port"):
            serve.main(["--port", str(port)])
    monkeypatch.setattr(serve, "importlib", SimpleNamespace(util=SimpleNamespace(find_spec=lambda name: None)))
    with refused(UnsupportedError, "python-multipart", "pip install"):
        serve.main([])
    assert serve.parse([]).host == "127.0.0.1"
    assert serve.names_of(serve.parse(["--name", "a.org,b.org:81", "--name", "[::1]"]).name) == (
        "a.org", "b.org:81", "[::1]")
    for name in ("https://a.org", "a.org/", "*", ""):
        with refused(SettingError, "name", repr(name), "speech.example.org"):
            serve.names_of([name])


def test_the_description_names_every_route_and_error(address):
    described = httpx.get(f"http://{address}/openapi.json").json()
    assert set(described["paths"]) == {f"/api/{name}" for name in (
        "verify", "separate", "separate.zip", "transcribe", "meeting")}
    for path in described["paths"].values():
        assert {"200", "400", "403", "408", "413", "422", "503"} <= set(path["post"]["responses"])
        for status in ("413", "422"):
            content = path["post"]["responses"][status]["content"]["application/json"]
            assert content["schema"]["$ref"].endswith("/Problem")
    assert "/api/live" in described["info"]["description"]


@pytest.mark.slow
def test_no_request_that_fits_the_description_fails_the_server(address, tmp_path):
    program = shutil.which("schemathesis") or shutil.which("schemathesis", path=sysconfig.get_path("scripts"))
    if not program:
        pytest.skip("schemathesis is not installed")
    checks = "not_a_server_error,response_schema_conformance,content_type_conformance,status_code_conformance"
    done = subprocess.run([program, "run", f"http://{address}/openapi.json", "--max-examples", "30", "--checks", checks,
                           "--phases", "coverage,fuzzing", "--generation-deterministic", "--no-color"], cwd=tmp_path,
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "Tested: 5" in done.stdout, done.stdout


def test_the_page_is_whole_in_both_languages_and_takes_nothing_from_elsewhere(address):
    static = ROOT / "app" / "static"
    texts = {path.name: path.read_text(encoding="utf-8") for path in static.iterdir()}
    english, chinese = (set(re.findall(r'(?:[{,]|^)\s*(\w+): "', part)) for part in texts["texts.js"].split("zh: {"))
    assert english == chinese
    used = re.findall(r'data-text="(\w+)"', texts["index.html"]) + re.findall(r'translate\("(\w+)"\)', texts["app.js"])
    assert set(used) <= english
    outside = {name: re.findall(r"(?:https?:)?//[\w.]+\.\w+", text.replace("http://www.w3.org/2000/svg", ""))
               for name, text in texts.items()}
    assert not any(outside.values()), outside
    page = httpx.get(f"http://{address}/")
    assert httpx.head(f"http://{address}/").headers["content-length"] == str(len(page.content))
    assert "default-src 'self'" in page.headers["content-security-policy"]
    for name in re.findall(r'(?:src|href)="(/static/[\w.]+)"', page.text):
        assert httpx.get(f"http://{address}{name}").status_code == 200
    for name in re.findall(r"[\w.]+\.(?:wav|flac)", " ".join(re.findall('data-samples="(.*?)"', page.text))):
        assert httpx.get(f"http://{address}/samples/{name}").status_code == 200
