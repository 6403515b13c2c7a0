// Plays the takes of one result in step, so that changing the take never stops the sound.
// It has as much of an HTMLMediaElement's surface as wavesurfer.js needs of its `media`.

export class TakesPlayer extends EventTarget {
  constructor() {
    super();
    Object.assign(this, { takes: [], take: 0, paused: true, ended: false, seeking: false, readyState: 4 });
    Object.assign(this, { volume_: 0.9, muted: false, playbackRate: 1, src: "", currentSrc: "", loop: null });
    this.at = 0;
    this.sources = [];
  }

  /** @param {{buffer: AudioBuffer, lufs: number|null}[]} takes of one length */
  load(takes) {
    if (!takes) return; // the media element's own load()
    this.takes = takes;
    const heard = takes.map((one) => one.lufs).filter(Number.isFinite);
    const quietest = heard.length ? Math.min(...heard) : 0;
    // Equal loudness by turning down, never up: nothing can clip.
    this.gains = takes.map((one) => (Number.isFinite(one.lufs) ? 10 ** ((quietest - one.lufs) / 20) : 1));
    this.dispatchEvent(new Event("durationchange"));
  }

  get duration() { return this.takes[this.take]?.buffer.duration ?? 0; }
  get volume() { return this.volume_; }
  set volume(value) {
    this.volume_ = value;
    if (this.master) this.master.gain.setTargetAtTime(value, this.context.currentTime, 0.01);
    this.dispatchEvent(new Event("volumechange"));
  }

  get currentTime() {
    if (this.paused) return this.at;
    let at = this.at + Math.max(0, this.context.currentTime - this.since);
    if (this.loop) {
      const [start, end] = this.loop;
      if (at >= end) at = start + ((at - end) % (end - start));
    }
    return Math.min(at, this.duration);
  }

  set currentTime(at) {
    this.at = Math.max(0, Math.min(at, this.duration));
    this.ended = false;
    if (!this.paused) this.restart();
    for (const name of ["seeking", "timeupdate", "seeked"]) this.dispatchEvent(new Event(name));
  }

  async play() {
    if (!this.takes.length || !this.paused) return;
    if (!this.context) {
      this.context = new AudioContext();
      this.master = this.context.createGain();
      this.master.gain.value = this.volume_;
      this.master.connect(this.context.destination);
    }
    await this.context.resume();
    if (this.at >= this.duration - 0.01) this.at = 0;
    this.paused = false;
    this.ended = false;
    this.restart();
    this.dispatchEvent(new Event("play"));
    this.tick();
  }

  pause() {
    if (this.paused) return;
    this.at = this.currentTime;
    this.paused = true;
    this.halt();
    this.dispatchEvent(new Event("pause"));
  }

  toggle() { return this.paused ? this.play() : this.pause(); }

  /** Hear another take from the same moment on. */
  choose(take) {
    if (!(take >= 0 && take < this.takes.length)) return;
    const before = this.take;
    this.take = take;
    if (!this.paused) {
      const moment = this.context.currentTime;
      this.sources[before]?.gain.gain.setTargetAtTime(0, moment, 0.004);
      this.sources[take]?.gain.gain.setTargetAtTime(this.gains[take], moment, 0.004);
    }
    this.dispatchEvent(new Event("take"));
  }

  /** @param {[number, number]|null} loop seconds */
  setLoop(loop) {
    const at = this.currentTime;
    this.loop = loop && loop[1] - loop[0] > 0.05 ? loop : null;
    this.at = at;
    if (!this.paused) this.restart();
  }

  halt() {
    for (const one of this.sources) {
      one.node.onended = null;
      one.node.stop();
    }
    this.sources = [];
  }

  restart() {
    this.halt();
    if (this.loop && this.at >= this.loop[1]) this.at = this.loop[0];
    const moment = this.context.currentTime + 0.01;
    this.sources = this.takes.map(({ buffer }, i) => {
      const node = new AudioBufferSourceNode(this.context, { buffer });
      const gain = new GainNode(this.context, { gain: i === this.take ? this.gains[i] : 0 });
      if (this.loop) Object.assign(node, { loop: true, loopStart: this.loop[0], loopEnd: this.loop[1] });
      node.connect(gain).connect(this.master);
      node.start(moment, this.at);
      return { node, gain };
    });
    this.since = moment;
    const longest = this.sources[this.take];
    if (longest && !this.loop) longest.node.onended = () => this.finish();
  }

  finish() {
    if (this.paused) return;
    this.halt();
    this.at = 0;
    this.paused = true;
    this.ended = true;
    this.dispatchEvent(new Event("timeupdate"));
    this.dispatchEvent(new Event("ended"));
  }

  tick() {
    if (this.paused) return;
    this.dispatchEvent(new Event("timeupdate"));
    requestAnimationFrame(() => this.tick());
  }

  destroy() {
    this.pause();
    this.context?.close();
    this.context = null;
  }

  canPlayType() { return ""; }
  removeAttribute() {}
  remove() {}
}

/** The samples of a file, at its own rate. */
export async function decode(bytes, rate = 44100) {
  return new OfflineAudioContext(1, 1, rate).decodeAudioData(bytes);
}
