// The timeline of a result: one ruler for waveform, spectrogram and influence lanes; transport and takes.

import WaveSurfer from "../vendor/wavesurfer/wavesurfer.esm.js";
import Regions from "../vendor/wavesurfer/regions.esm.js";
import { call } from "./api.js";
import { button, clock, h, put, slider } from "./dom.js";
import { keyboard } from "./keys.js";
import { lanes } from "./lanes.js";
import { drawSpectrogram, marks } from "./picture.js";
import { TakesPlayer, decode } from "./player.js";
import { problemNotice } from "./problems.js";
import { store } from "./api.js";

/**
 * @param {object} job that succeeded
 * @param {(take: number) => void} chosen when another take is shown
 * @returns {{element, region, setRegion, choose, onregion, lanes, take, duration, close}}
 */
export function stage(job, chosen) {
  const player = new TakesPlayer();
  const duration = job.outputs[0].duration_s;
  const ruler = h("div", { class: "ruler", "aria-hidden": "true" });
  const wavePlace = h("div", { class: "wave" });
  const canvas = h("canvas", { class: "spectrogram", role: "img", "aria-label": "Spectrogram" });
  const laneBox = h("div", {});
  const playhead = h("div", { class: "playhead" });
  const band = h("div", { class: "band", hidden: true });
  const timeline = h("div", { class: "timeline" }, ruler, wavePlace, canvas, laneBox, playhead, band);
  const time = h("span", { class: "time" }, `${clock(0)} / ${clock(duration)}`);
  const said = h("div", {});
  let take = 0, region = null, shown = null, surfer = null, regions = null, laneView = null;
  const listeners = [];

  const play = button("Play", () => player.toggle(), { class: "main", disabled: true, title: "Space" });
  const loop = button("Loop", () => toggleLoop(), { "aria-pressed": "false", title: "L" });
  const volume = slider("Volume", { min: 0, max: 1, step: 0.05, value: store.get("volume", 0.9, (value) => value >= 0 && value <= 1) });
  volume.addEventListener("moved", () => { player.volume = volume.value ?? 0.9; store.set("volume", player.volume); });
  player.volume = volume.value;
  const takes = h("div", { class: "row", role: "group", "aria-label": "Takes at equal loudness" }, job.outputs.length > 1 && job.outputs.map((one, i) =>
    button(`Take ${i + 1}`, () => choose(i), { "aria-pressed": i === 0, title: String(i + 1) })));
  const element = h("section", { class: "panel stack tight", "aria-label": "Player" },
    h("div", { class: "transport" }, play, loop, time, takes, volume), timeline,
    h("p", { class: "hint" }, "Drag over the waveform to select a region. Takes are played at equal loudness."), said);

  const width = () => timeline.clientWidth || 1;
  const moment = (event) => ((event.clientX - timeline.getBoundingClientRect().left) / width()) * duration;
  for (const part of [canvas, ruler, laneBox]) part.addEventListener("click", (event) => { player.currentTime = moment(event); });

  function choose(i) {
    if (i === take || !job.outputs[i]) return;
    take = i;
    player.choose(i);
    [...takes.children].forEach((one, j) => one.setAttribute("aria-pressed", j === i));
    paint();
    chosen(i);
  }

  function paint() {
    const buffer = player.takes[take]?.buffer;
    if (!buffer || !surfer) return;
    surfer.load("", [buffer.getChannelData(0)], buffer.duration);
    drawSpectrogram(canvas, buffer);
  }

  function drawRuler() {
    put(ruler, marks(duration, width()).filter((at) => at < duration - 0.02 * duration || at === 0).map((at) =>
      h("span", { style: { left: `${(100 * at) / duration}%` } }, Number.isInteger(at) ? `${at}` : at.toFixed(1))));
  }

  function moved() {
    const at = player.currentTime;
    playhead.style.left = `${(100 * at) / duration}%`;
    time.textContent = `${clock(at)} / ${clock(duration)}`;
    laneView?.at(at);
  }

  function setRegion(from, to, drawn = null) {
    const start = Math.max(0, Math.min(from, to)), end = Math.min(duration, Math.max(from, to));
    region = end - start >= 0.05 ? [start, end] : null;
    if (regions && !drawn) {
      regions.clearRegions();
      if (region) shown = regions.addRegion({ start, end, color: "transparent" });
    }
    band.hidden = !region;
    if (region) {
      band.style.left = `${(100 * start) / duration}%`;
      band.style.width = `${(100 * (end - start)) / duration}%`;
    }
    if (player.loop) player.setLoop(region);
    if (!region) { player.setLoop(null); loop.setAttribute("aria-pressed", "false"); }
    for (const tell of listeners) tell(region);
  }

  function toggleLoop() {
    const on = !player.loop;
    if (on && !region) setRegion(0, duration);
    player.setLoop(on ? region : null);
    loop.setAttribute("aria-pressed", String(Boolean(player.loop)));
  }

  player.addEventListener("timeupdate", moved);
  for (const name of ["play", "pause", "ended"]) player.addEventListener(name, () => { play.textContent = player.paused ? "Play" : "Pause"; });

  function makeSurfer() {
    const ink = getComputedStyle(document.documentElement);
    const host = h("div", {});
    // Made out of the document, so that its inline style sheet, which the page's policy forbids,
    // can be replaced by a constructed one before the browser looks at it.
    surfer = WaveSurfer.create({
      container: host, media: player, height: 96, cursorWidth: 0, normalize: true, sampleRate: 24000,
      waveColor: ink.getPropertyValue("--accent").trim(), progressColor: ink.getPropertyValue("--accent").trim(),
      barWidth: 2, barGap: 1, dragToSeek: false,
    });
    const root = host.firstElementChild.shadowRoot;
    const sheet = new CSSStyleSheet();
    for (const style of root.querySelectorAll("style")) {
      sheet.replaceSync(style.textContent);
      style.remove();
    }
    root.adoptedStyleSheets = [sheet];
    root.querySelector(".scroll")?.setAttribute("tabindex", "-1");
    wavePlace.replaceChildren(host);
    regions = surfer.registerPlugin(Regions.create());
    regions.enableDragSelection({ color: "transparent" });
    regions.on("region-created", (one) => {
      if (one === shown) return;
      for (const other of regions.getRegions()) if (other !== one) other.remove();
      shown = one;
      setRegion(one.start, one.end, one);
    });
    regions.on("region-updated", (one) => setRegion(one.start, one.end, one));
  }

  async function load() {
    try {
      const files = await Promise.all(job.outputs.map(async (output) => {
        const answer = await call(output.content, { raw: true });
        return { buffer: await decode(await answer.arrayBuffer(), output.sample_rate), lufs: output.quality?.lufs };
      }));
      if (!element.isConnected) return;
      player.load(files);
      player.choose(take);
      makeSurfer();
      paint();
      drawRuler();
      play.disabled = false;
    } catch (problem) {
      if (problem.name === "Problem" || problem.status !== undefined) put(said, problemNotice(problem));
      else put(said, problemNotice({ detail: "this browser cannot decode the sound", hint: "download it, or use another browser" }));
    }
  }

  const resized = new ResizeObserver(() => { drawRuler(); laneView?.resize(); if (player.takes.length) drawSpectrogram(canvas, player.takes[take].buffer); });
  resized.observe(timeline);
  keyboard.take = (key) => {
    if (key === " ") player.toggle();
    else if (/^[1-4]$/.test(key)) choose(Number(key) - 1);
    else if (key === "l" || key === "L") toggleLoop();
    else if (key === "[") setRegion(player.currentTime, region && region[1] > player.currentTime ? region[1] : duration);
    else if (key === "]") setRegion(region && region[0] < player.currentTime ? region[0] : 0, player.currentTime);
    else return false;
    return true;
  };
  queueMicrotask(load);

  return {
    element, player,
    get region() { return region; },
    get take() { return take; },
    duration, setRegion, choose,
    onregion: (tell) => listeners.push(tell),
    lanes: (of, record) => {
      if (of !== take) return;
      laneView?.close();
      laneView = lanes(laneBox, record, duration);
      moved();
    },
    close: () => { keyboard.take = null; resized.disconnect(); laneView?.close(); surfer?.destroy(); player.destroy(); },
  };
}
