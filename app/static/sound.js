// Sound in the browser: the microphone, wavs, spectrograms.

/** Calls take(Float32Array) with the microphone's samples; returns {rate, stop}. */
export async function openMicrophone(take) {
  // as it is: what makes calls pleasant changes voices
  const stream = await navigator.mediaDevices.getUserMedia({audio: {
    channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false}});
  let context = null;
  const stop = () => {
    stream.getTracks().forEach((track) => track.stop());
    return context?.close();
  };
  try {
    context = new AudioContext();
    await context.audioWorklet.addModule("/static/worklet.js");
    const node = new AudioWorkletNode(context, "samples", {numberOfOutputs: 0});
    node.port.onmessage = (event) => take(event.data);
    context.createMediaStreamSource(stream).connect(node);
  } catch (error) {
    await stop();       // or the microphone would stay on
    throw error;
  }
  return {rate: context.sampleRate, stop};
}

/** Samples in [-1, 1] as 16 bits, little-endian as all machines with browsers are. */
export function pcm(samples) {
  return Int16Array.from(samples, (sample) => Math.max(-32768, Math.min(32767, Math.round(sample * 32768))));
}

/** Blocks of samples as a wav. */
export function wav(blocks, rate) {
  const data = blocks.map(pcm), bytes = data.reduce((sum, block) => sum + block.byteLength, 0);
  const head = new DataView(new ArrayBuffer(44));
  const text = (place, word) => [...word].forEach((letter, i) => head.setUint8(place + i, letter.charCodeAt(0)));
  text(0, "RIFF"); head.setUint32(4, 36 + bytes, true); text(8, "WAVEfmt ");
  head.setUint32(16, 16, true); head.setUint16(20, 1, true); head.setUint16(22, 1, true);
  head.setUint32(24, rate, true); head.setUint32(28, 2 * rate, true); head.setUint16(32, 2, true);
  head.setUint16(34, 16, true); text(36, "data"); head.setUint32(40, bytes, true);
  return new Blob([head, ...data], {type: "audio/wav"});
}

const SIZE = 512, RATE = 16000;

/** Draws the spectrogram of a recording, 0 to 8 kHz; nothing where the browser cannot decode it. */
export async function spectrogram(canvas, blob) {
  let samples;
  try {
    const decoder = new OfflineAudioContext(1, 1, RATE);
    samples = (await decoder.decodeAudioData(await blob.arrayBuffer())).getChannelData(0);
  } catch {
    canvas.hidden = true;
    return;
  }
  canvas.hidden = false;
  const columns = Math.min(1200, Math.max(1, Math.floor((samples.length - SIZE) / 80))), rows = SIZE / 2;
  canvas.width = columns;
  canvas.height = rows;
  const levels = new Float32Array(columns * rows);
  let loudest = -Infinity;
  for (let column = 0; column < columns; column++) {
    const start = Math.floor(column * Math.max(0, samples.length - SIZE) / columns);
    const power = powers(samples.subarray(start, start + SIZE));
    for (let row = 0; row < rows; row++) {
      const level = 10 * Math.log10(power[row] + 1e-12);
      levels[column * rows + row] = level;
      loudest = Math.max(loudest, level);
    }
  }
  const context = canvas.getContext("2d"), image = context.createImageData(columns, rows);
  for (let column = 0; column < columns; column++) {
    for (let row = 0; row < rows; row++) {
      const shade = Math.max(0, 1 + (levels[column * rows + row] - loudest) / 70);
      image.data.set([255 * Math.min(1, 2.2 * shade ** 1.5), 255 * shade ** 2, 255 * (0.35 * Math.sin(Math.PI * shade) +
        shade ** 5), 255], 4 * ((rows - 1 - row) * columns + column));
    }
  }
  context.putImageData(image, 0, 0);
}

/** |FFT|^2 of up to SIZE samples under a Hann window: SIZE / 2 numbers. */
function powers(samples) {
  const real = new Float32Array(SIZE), imaginary = new Float32Array(SIZE);
  for (let i = 0, j = 0; i < SIZE; i++) {       // in bit-reversed order
    real[j] = (samples[i] ?? 0) * (0.5 - 0.5 * Math.cos(2 * Math.PI * i / SIZE));
    let bit = SIZE >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
  }
  for (let length = 2; length <= SIZE; length *= 2) {
    for (let k = 0; k < length / 2; k++) {
      const cosine = Math.cos(-2 * Math.PI * k / length), sine = Math.sin(-2 * Math.PI * k / length);
      for (let a = k; a < SIZE; a += length) {
        const b = a + length / 2;
        const x = real[b] * cosine - imaginary[b] * sine, y = real[b] * sine + imaginary[b] * cosine;
        real[b] = real[a] - x; imaginary[b] = imaginary[a] - y;
        real[a] += x; imaginary[a] += y;
      }
    }
  }
  return real.subarray(0, SIZE / 2).map((x, i) => x * x + imaginary[i] ** 2);
}
