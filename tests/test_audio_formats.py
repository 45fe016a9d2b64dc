"""utils/audio/stream.py: formats are read to their end, what is cut is called truncated, nothing is lost unsaid."""
import io
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.encode import encode
from helpers.errors import refused

from utils.audio import audio_file, stream
from utils.audio.containers import examine
from utils.audio.decoders import FFmpegDecoder
from utils.audio.recording import inspect
from utils.audio.stream import AudioError, open_audio

RATE = 16000
LENGTH = 16000


def sound(count=LENGTH, seed=0):
    """A tone that rises, so that no part is like another, in some noise: (count,)."""
    time = np.arange(count) / RATE
    noise = np.random.default_rng(seed).standard_normal(count)
    return 0.3 * np.sin(2 * np.pi * (200 + 300 * time) * time) + 0.01 * noise


def written(path, samples=None, rate=RATE, **options):
    """A file that libsndfile writes; its path."""
    soundfile.write(path, sound() if samples is None else samples, rate, **options)
    return path


def length(path):
    """Samples of a file by all the ways to ask for them, which must agree."""
    whole = audio_file.read(path, RATE, resample=True)
    count, rate = audio_file.header(path)
    recording = inspect(str(path), 1, RATE)
    assert recording.samples == count and recording.rate == rate and abs(len(whole) - count * RATE / rate) <= 1
    assert sum(map(len, recording.blocks(RATE))) == len(whole)
    return count


def id3(size):
    """An ID3 tag with a picture of so many bytes."""
    content = b"APIC" + struct.pack(">I", size) + b"\0\0\0image/jpeg\0\3\0" + bytes(range(255, -1, -1)) * (size // 256)
    content = content.ljust(size, b"\0")
    return b"ID3\3\0\0" + bytes(size >> shift & 127 for shift in (21, 14, 7, 0)) + content


# Lengths that a header does not tell

@pytest.mark.parametrize("value", [0, 0xFFFFFFFF, 0xFFFFFFDB, 0x7FFFF000, 0x7FFFFFFF, 0x80000000])
def test_a_wav_from_a_pipe_is_read_to_its_end(tmp_path, value):
    path = written(tmp_path / "a.wav")
    expected = audio_file.read(path, RATE)
    content = bytearray(path.read_bytes())
    content[40:44] = struct.pack("<I", value)
    path.write_bytes(content)
    assert length(path) == LENGTH
    np.testing.assert_array_equal(audio_file.read(path, RATE), expected)
    np.testing.assert_array_equal(audio_file.read(path, RATE, 5000, 100), expected[5000:5100])


@pytest.mark.parametrize("form, codec, options", [("wav", "pcm_s16le", {"rf64": "always"}), ("wav", "pcm_f32le", {}),
                                                  ("w64", "pcm_s16le", {}), ("au", "pcm_s16be", {}),
                                                  ("aiff", "pcm_s16be", {}), ("caf", "pcm_s16be", {}),
                                                  ("flac", "flac", {})])
def test_what_ffmpeg_writes_to_a_pipe_is_read_to_its_end(tmp_path, form, codec, options):
    path = encode(tmp_path / "a", sound(), RATE, codec, form, pipe=True, **options)
    assert length(path) == LENGTH
    np.testing.assert_allclose(audio_file.read(path, RATE), sound(), atol=2 ** -14)


def test_flac_of_unknown_length_is_decoded_once_to_know_it(tmp_path):
    path = written(tmp_path / "a.flac")
    expected = audio_file.read(path, RATE)
    content = bytearray(path.read_bytes())
    content[21], content[22:26] = content[21] & 0xF0, bytes(4)
    path.write_bytes(content)
    with open_audio(path) as stream:
        assert stream.frames is None
    np.testing.assert_array_equal(audio_file.random_crop(path, RATE, 999, np.random.default_rng(0)),
                                  crop_of(expected, 999, np.random.default_rng(0)))
    with open_audio(path) as stream:
        assert stream.frames == LENGTH
    assert length(path) == LENGTH


def crop_of(samples, count, generator):
    start = int(generator.integers(0, len(samples) - count + 1))
    return samples[start:start + count]


@pytest.mark.parametrize("tags", [b"", id3(100_000)])
def test_an_mp3_without_a_xing_tag_is_decoded_to_its_end(tmp_path, tags):
    path = tmp_path / "a.mp3"
    encode(path, sound(), RATE, "libmp3lame", write_xing=0)
    path.write_bytes(tags + path.read_bytes())
    assert length(path) % 576 == 0 and LENGTH <= length(path) <= LENGTH + 3 * 576


def test_parts_of_an_mp3_are_those_of_the_whole_and_nothing_is_printed(tmp_path, capfd):
    """Not even by libmpg123, which does so where a file is skipped through."""
    generator = np.random.default_rng(0)
    loudness = np.repeat(generator.random(200), RATE // 10)
    with soundfile.SoundFile(tmp_path / "a.mp3", "w", RATE, 1, bitrate_mode="CONSTANT", compression_level=0.8) as file:
        file.write(0.2 * generator.normal(size=len(loudness)) * loudness)
    whole = audio_file.read(tmp_path / "a.mp3", RATE)
    for start in generator.integers(0, len(whole) - 8000, 20):
        with open_audio(tmp_path / "a.mp3") as stream:
            stream.seek(start)
            np.testing.assert_allclose(stream.read(8000)[:, 0], whole[start:start + 8000], atol=1e-6)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("behind", [b"", b"TAG" + bytes(125), bytes(1000), b"no frame " * 100])
def test_what_follows_an_mp3_and_is_no_sound_is_passed_over(tmp_path, behind):
    path = written(tmp_path / "a.mp3")
    path.write_bytes(id3(3000) + path.read_bytes() + behind)
    assert length(path) == LENGTH


@pytest.mark.parametrize("form, subtype", [("WAV", "GSM610"), ("WAV", "G721_32"), ("AU", "G723_24"), ("AIFF", "GSM610"),
                                           ("WAV", "NMS_ADPCM_16")])
def test_formats_that_cannot_seek_are_read_like_others(tmp_path, form, subtype):
    path = written(tmp_path / "a", format=form, subtype=subtype)
    whole = audio_file.read(path, RATE)
    assert length(path) == len(whole) and abs(len(whole) - LENGTH) < 160
    np.testing.assert_array_equal(audio_file.read(path, RATE, 7000, 500), whole[7000:7500])
    np.testing.assert_array_equal(audio_file.random_crop(path, RATE, 500, np.random.default_rng(1)),
                                  crop_of(whole, 500, np.random.default_rng(1)))


# Formats of telephones and browsers

PHONES = {"a.m4a": ("aac", {}, 1024), "b.m4a": ("alac", {}, 0), "a.mp4": ("aac", {"movflags": "faststart"}, 1024),
          "f.mp4": ("aac", {"movflags": "frag_keyframe+empty_moov"}, 2048), "a.mov": ("aac", {}, 1024),
          "a.aac": ("aac", {"form": "adts"}, 2048), "a.mkv": ("aac", {}, 1024), "a.3gp": ("aac", {}, 1024),
          "a.webm": ("libopus", {"rate": 48000}, 0),
          "l.webm": ("libopus", {"rate": 48000, "form": "webm", "pipe": True, "live": 1}, 0),
          "a.amr": ("libopencore_amrnb", {"rate": 8000}, 320), "a.ac3": ("ac3", {"rate": 48000}, 1536),
          "a.wv": ("wavpack", {}, 0), "a.tta": ("tta", {}, 0), "a.flv": ("libmp3lame", {"rate": 44100}, 2304),
          "a.ts": ("aac", {}, 2048), "a.avi": ("libmp3lame", {}, 1728), "f.ogg": ("flac", {}, 0)}


def phone(folder, name, seconds=1.0):
    """(path, samples at its rate that were encoded, its rate)."""
    codec, options, _ = PHONES[name]
    options = {"rate": RATE, "channels": 1} | options
    samples = np.interp(np.arange(0, seconds, 1 / options["rate"]), np.arange(2 * LENGTH) / RATE, sound(2 * LENGTH))
    return encode(folder / name, samples, codec=codec, **options), samples, options["rate"]


@pytest.mark.parametrize("name", PHONES)
def test_formats_of_telephones_and_browsers_are_read_from_the_first_sample_to_the_last(tmp_path, name):
    path, samples, rate = phone(tmp_path, name)
    count = length(path)
    assert len(samples) - rate // 100 <= count <= len(samples) + PHONES[name][2]
    if PHONES[name][2] in (0, 1024):        # a note of the encoder's delay is in the file
        assert np.corrcoef(audio_file.read(path, rate)[1000:15000], samples[1000:15000])[0, 1] > 0.9


def test_the_bytes_decide_and_not_the_name(tmp_path):
    expected = audio_file.read(phone(tmp_path, "a.m4a")[0], RATE)
    for name in ("a.wav", "a.raw.mp3", "noname"):
        os.replace(next(tmp_path.iterdir()), tmp_path / name)
        np.testing.assert_array_equal(audio_file.read(tmp_path / name, RATE), expected)
    assert length(written(tmp_path / "b.flac", format="WAV")) == LENGTH
    os.replace(tmp_path / "b.flac", tmp_path / "b.raw")
    assert length(tmp_path / "b.raw") == LENGTH


def test_a_crop_of_what_only_ffmpeg_reads_is_the_part_of_the_whole(tmp_path):
    path, _, _ = phone(tmp_path, "a.m4a")
    whole = audio_file.read(path, RATE)
    np.testing.assert_array_equal(audio_file.read(path, RATE, 4000, 3000), whole[4000:7000])
    np.testing.assert_array_equal(audio_file.random_crop(path, RATE, 3000, np.random.default_rng(2)),
                                  crop_of(whole, 3000, np.random.default_rng(2)))
    with refused(AudioError, path):
        audio_file.read(path, RATE, len(whole) - 10, 20)


def test_of_several_streams_the_one_with_the_most_channels_is_read(tmp_path):
    import av
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        streams = [container.add_stream("pcm_s16le", rate=RATE, layout=layout) for layout in ("mono", "stereo")]
        picture = container.add_stream("mjpeg", rate=1)
        picture.width = picture.height = 16
        picture.pix_fmt = "yuvj420p"
        for packet in picture.encode(av.VideoFrame(16, 16, "yuvj420p")):
            container.mux(packet)
        for stream, layout, level in zip(streams, ("mono", "stereo"), (1000, 2000), strict=True):
            values = np.full((1, RATE * stream.channels), level, np.int16)
            frame = av.AudioFrame.from_ndarray(values, format="s16", layout=layout)
            frame.sample_rate = RATE
            for packet in [*stream.encode(frame), *stream.encode(None)]:
                container.mux(packet)
    samples = audio_file.read(tmp_path / "a.mkv", RATE)
    np.testing.assert_array_equal(samples, np.full(RATE, 2000 / 32768, np.float32))


def test_what_must_be_decoded_to_be_counted_is_counted_no_further_than_was_asked(tmp_path, monkeypatch):
    path, _, _ = phone(tmp_path, "a.m4a", 2.0)
    whole, decoded, read = audio_file.header(path)[0], [], FFmpegDecoder.read
    monkeypatch.setattr(FFmpegDecoder, "read", lambda self, count: decoded.append(count) or read(self, count))
    os.utime(path, ns=(1, 1))       # its length is not known any longer
    assert 0.5 * RATE < audio_file.header(path, 0.5)[0] <= 1.5 * RATE and sum(decoded) <= 1.5 * RATE
    assert audio_file.header(path, 3.0) == audio_file.header(path) == (whole, RATE)


def test_a_length_is_remembered_of_a_file_with_a_name_and_of_no_descriptor(tmp_path, monkeypatch):
    contents = [Path(phone(tmp_path, "a.m4a", seconds)[0]).read_bytes() for seconds in (1.0, 0.5)]
    longer, shorter = (content.ljust(len(contents[0]) + 8, b"\0") for content in contents)     # of one size
    with open(tmp_path / "open", "w+b") as file:
        def count(content):
            file.seek(0)
            file.write(content)
            file.flush()
            os.utime(file.fileno(), ns=(1, 1))
            path = f"/dev/fd/{file.fileno()}"
            crop = audio_file.random_crop(path, RATE, 100, np.random.default_rng(0))
            assert len(crop) == 100
            return audio_file.header(path)[0]

        assert count(longer) > 1.5 * count(shorter) > 0
    monkeypatch.setattr(stream, "_lengths", {})
    monkeypatch.setattr(stream, "KNOWN", 2)
    for number in range(5):
        (tmp_path / f"{number}.m4a").write_bytes(contents[0])
        with open_audio(tmp_path / f"{number}.m4a") as recording:
            assert recording.frames is None
        frames = audio_file.header(tmp_path / f"{number}.m4a")[0]
        with open_audio(tmp_path / f"{number}.m4a") as recording:
            assert recording.frames == frames
        assert len(stream._lengths) <= 2


# What is cut

def streamed(path):
    encode(path, sound(), RATE, "flac", "flac", pipe=True)


CUT = {"a.wav": {}, "a.flac": {}, "a.mp3": {}, "v.ogg": {"format": "OGG", "subtype": "VORBIS"},
       "o.ogg": {"format": "OGG", "subtype": "OPUS"}, "a.aiff": {}, "a.au": {}, "a.w64": {}, "a.rf64": {}, "a.caf": {},
       "gsm.wav": {"subtype": "GSM610"}, "mulaw.wav": {"subtype": "ULAW"}, "a.sph": {"format": "NIST"}}


@pytest.mark.parametrize("name", [*CUT, "streamed.flac", "plain.mp3", *sorted(PHONES.keys() - {"a.wv"})])
def test_what_is_cut_anywhere_is_called_truncated(tmp_path, name):
    path = tmp_path / name
    if name in CUT:
        written(path, **CUT[name])
    elif name == "streamed.flac":
        streamed(path)
    elif name == "plain.mp3":
        encode(path, sound(), RATE, "libmp3lame", write_xing=0)
    else:
        phone(tmp_path, name)
    content = path.read_bytes()
    if name == "a.tta":
        content = content[:content.index(b"APETAGEX")]      # without it nothing is lost
    for keep in (len(content) - 2, len(content) - 30, len(content) // 2 + 1, len(content) // 5 | 1):
        path.write_bytes(content[:keep])
        for use in (lambda: audio_file.read(path, RATE, resample=True), lambda: inspect(str(path), 1, RATE)):
            with refused(AudioError, path) as record:
                use()
            assert "truncated" in str(record.value), (keep, record.value)


def test_a_missing_page_in_the_middle_of_an_ogg_is_named(tmp_path):
    path = written(tmp_path / "a.ogg", sound(4 * LENGTH), format="OGG", subtype="VORBIS")
    pages = path.read_bytes().split(b"OggS")
    path.write_bytes(b"OggS".join(pages[:4] + pages[5:]))
    with refused(AudioError, path, "damaged", 1):
        audio_file.read(path, RATE)


# What was joined with cat

def bytes_of(count, **options):
    buffer = io.BytesIO()
    soundfile.write(buffer, sound(count), RATE, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("options", [{"format": "MP3"}, {"format": "OGG", "subtype": "VORBIS"},
                                     {"format": "OGG", "subtype": "OPUS"},
                                     *({"format": form, "subtype": "PCM_16"}
                                       for form in ("WAV", "RF64", "W64", "AIFF", "AU", "CAF", "NIST"))])
@pytest.mark.parametrize("between", [b"", id3(3000)])
def test_of_recordings_joined_with_cat_all_are_read(tmp_path, options, between):
    if between and options["format"] != "MP3":
        return
    (tmp_path / "a").write_bytes(bytes_of(16000, **options) + between + bytes_of(8000, **options))
    count, rate = audio_file.header(tmp_path / "a")
    # FFmpeg does not shorten the last block of a very short Vorbis
    assert 0 <= count - 24000 * rate // RATE <= 192 and count == length(tmp_path / "a")


@pytest.mark.parametrize("name", ["a.m4a", "a.amr", "a.webm", "a.aac", "a.flv", "a.avi", "a.tta"])
def test_of_telephone_recordings_joined_with_cat_all_are_read(tmp_path, name):
    path, _, _ = phone(tmp_path, name)
    count, content = length(path), (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(2 * content)
    assert abs(length(path) - 2 * count) < 1000


def test_joined_recordings_of_other_rates_and_channels_become_one_of_the_first(tmp_path):
    second = io.BytesIO()
    soundfile.write(second, np.stack([sound()] * 2, 1), 2 * RATE, format="OGG", subtype="VORBIS")
    (tmp_path / "a.ogg").write_bytes(bytes_of(16000, format="OGG", subtype="VORBIS") + second.getvalue())
    count, rate = audio_file.header(tmp_path / "a.ogg")
    assert 0 <= count - 24000 <= 192 and rate == RATE


def test_joined_flac_is_refused_where_all_is_read(tmp_path):
    path = tmp_path / "a.flac"
    content = bytes_of(16000, format="FLAC")
    path.write_bytes(2 * content)
    for use in (lambda: audio_file.read(path, RATE), lambda: inspect(str(path), 1, RATE)):
        with refused(AudioError, path, len(content)):
            use()


@pytest.mark.parametrize("part", [b"FORM\0\0\0\4AIFF", b"caff\0\1\0\0", b"\0\0\0\x08moov\0\0\0\x08ftyp",
                                  b"#!AMR\n", b"NIST_1A\n0\nsample_count -i 0\nsample_n_bytes -i 2\n"])
def test_thousands_of_joined_parts_are_an_audio_error(tmp_path, part):
    (tmp_path / "a").write_bytes(2000 * part)
    with refused(AudioError, tmp_path / "a"):
        audio_file.header(tmp_path / "a")


@pytest.mark.parametrize("part", [b"FORM\0\0\0\4AIFF", b"OggS\0\6" + bytes(21)])
def test_a_file_may_hold_ten_thousand_parts(part):
    for count in (10_000, 10_001):
        content = count * part
        facts = examine(lambda place, size, content=content: content[place:place + size], len(content))
        assert len(facts.parts) == (count if count == 10_000 else 0)
        assert ("10000" in facts.problem) == (count > 10_000)
    assert facts.parts == () and len(facts.problem.splitlines()) == 1


# What is no recording

def test_no_file_is_refused_in_one_line(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    reader, writer = os.pipe()
    os.write(writer, b"RIFF")
    (tmp_path / "empty.m4a").touch()
    for path, fact in ((tmp_path / "pipe", "pipe"), (f"/dev/fd/{reader}", "pipe"), ("/dev/null", "device"),
                       (tmp_path, "folder"), (tmp_path / "empty.m4a", "0 bytes"), (tmp_path / "no", "no such")):
        for use in (lambda path=path: audio_file.read(path, RATE), lambda path=path: inspect(str(path), 1, RATE)):
            with refused(AudioError, path, fact):
                use()
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize("name", ["a.raw", "a.PCM"])
def test_samples_without_a_header_need_one(tmp_path, name):
    (sound() * 32767).astype("<i2").tofile(tmp_path / name)
    with refused(AudioError, tmp_path / name, "header", "sox"):
        inspect(str(tmp_path / name), 1, RATE)


@pytest.mark.parametrize("content", [b"<!DOCTYPE html><html>404</html>" * 50, b"#EXTM3U\nhttp://example.org/a.mp3\n",
                                     b"ffconcat version 1.0\nfile '/etc/passwd'\n", b"\xff\xfe" + bytes(300),
                                     b"RIFF\x24\0\0\0WAVE", b"OggS" + bytes(40), b"ID3\3\0\0" + bytes(40),
                                     b"fLaC", b"\xff"])
def test_what_is_no_audio_is_refused(tmp_path, content):
    (tmp_path / "a.wav").write_bytes(content)
    with refused(AudioError, tmp_path / "a.wav"):
        audio_file.read(tmp_path / "a.wav", RATE, resample=True)


def test_where_a_decoder_is_missing_the_command_that_converts_is_named(tmp_path):
    path, _, _ = phone(tmp_path, "a.mkv")
    (tmp_path / "a.mkv").write_bytes((tmp_path / "a.mkv").read_bytes().replace(b"A_AAC", b"A_ZZZ"))
    with refused(AudioError, path, f"ffmpeg -i {path} a.wav"):
        inspect(path, 1, RATE)


def test_text_is_called_text(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"\n <!DOCTYPE html><html>404</html>" * 50)
    with refused(AudioError, tmp_path / "a.wav", "text", "<!DOCTYPE html>"):
        inspect(str(tmp_path / "a.wav"), 1, RATE)


def test_a_protected_recording_and_a_film_without_sound_are_named(tmp_path):
    path = tmp_path / "a.m4p"
    phone(tmp_path, "a.m4a")
    path.write_bytes((tmp_path / "a.m4a").read_bytes().replace(b"mp4a", b"drms"))
    with refused(AudioError, path, "DRM"):
        audio_file.read(path, RATE)
    import av
    with av.open(str(tmp_path / "film.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width = stream.height = 16
        for packet in [*stream.encode(av.VideoFrame(16, 16, "yuv420p")), *stream.encode(None)]:
            container.mux(packet)
    with refused(AudioError, tmp_path / "film.mp4", "no audio stream"):
        audio_file.read(tmp_path / "film.mp4", RATE)


@pytest.mark.parametrize("rate", [0, 1, 999, 768_001, 2 ** 31, 2 ** 32 - 1])
def test_a_rate_that_no_recording_has_is_refused(tmp_path, rate):
    content = bytearray(written(tmp_path / "a.wav").read_bytes())
    content[24:28] = struct.pack("<I", rate)
    (tmp_path / "a.wav").write_bytes(content)
    with refused(AudioError, tmp_path / "a.wav"):
        audio_file.read(tmp_path / "a.wav", RATE, resample=True)


def test_rates_from_1_to_768_kilohertz_are_resampled(tmp_path):
    for rate in (1000, 768_000):
        assert len(audio_file.read(written(tmp_path / "a.wav", sound(rate), rate), RATE, resample=True)) == RATE


def test_no_channels_are_refused(tmp_path):
    content = bytearray(written(tmp_path / "a.wav").read_bytes())
    content[22:24] = bytes(2)
    (tmp_path / "a.wav").write_bytes(content)
    with refused(AudioError, tmp_path / "a.wav"):
        audio_file.read(tmp_path / "a.wav", RATE)


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.mp3", "v.ogg", "a.m4a", "a.webm", "a.amr"])
def test_a_damaged_header_gives_samples_or_an_audio_error(tmp_path, name):
    if name in CUT:
        written(tmp_path / name, sound(4000), **CUT[name])
    else:
        phone(tmp_path, name, 0.25)
    generator, content = np.random.default_rng(5), (tmp_path / name).read_bytes()
    for _ in range(30):
        changed = bytearray(content)
        for place in generator.integers(0, min(300, len(content)), 3):
            changed[place] = int(generator.choice([0, 1, 127, 128, 255]))
        (tmp_path / name).write_bytes(changed)
        try:
            assert np.isfinite(audio_file.read(tmp_path / name, RATE, resample=True)).all()
        except AudioError as error:
            assert len(str(error).splitlines()) == 1
