// Hands the samples of the microphone to the page, 2048 at a time.
class Samples extends AudioWorkletProcessor {
  constructor() {
    super();
    this.block = new Float32Array(2048);
    this.count = 0;
  }
  process([[channel]]) {
    for (const sample of channel ?? []) {
      this.block[this.count++] = sample;
      if (this.count === this.block.length) {
        this.port.postMessage(this.block.slice());
        this.count = 0;
      }
    }
    return true;
  }
}
registerProcessor("samples", Samples);
