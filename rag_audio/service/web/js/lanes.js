// Influence lanes: how like each source the output is, window by window, under the waveform.

import uPlot from "../vendor/uplot/uPlot.esm.js";
import { h, put } from "./dom.js";

/**
 * @param {HTMLElement} place
 * @param {object} record of an output; `checks.timeline.similar` has a row per window
 * @param {number} duration seconds
 */
export function lanes(place, record, duration) {
  const timeline = record.checks?.timeline;
  const rows = timeline?.similar ?? [];
  if (!rows.length || !record.sources.length) {
    put(place);
    return { at() {}, resize() {}, close() {} };
  }
  const ink = getComputedStyle(document.documentElement);
  const accent = ink.getPropertyValue("--accent").trim();
  // The last window may be cut off by the end: each begins where the one before it ended.
  const starts = rows.map((_, i) => Math.min(duration, i * timeline.window_s));
  const made = record.sources.map((source, i) => {
    const stem = source.reference.stem;
    const value = h("span", {});
    const plot = h("div", { class: "plot" });
    const lane = h("div", { class: "lane" }, h("div", { class: "lane-head" }, h("span", {}, h("b", {}, stem.title || stem.path), ` ${stem.artist}`), value), plot);
    return { lane, plot, value, values: rows.map((row) => row[i] ?? 0) };
  });
  put(place, made.map((one) => one.lane));
  for (const one of made) {
    const data = [[...starts, duration], [...one.values, one.values.at(-1)].map((value) => Math.max(0, value))];
    one.chart = new uPlot({
      width: Math.max(1, one.plot.clientWidth), height: 32, padding: [2, 0, 0, 0],
      legend: { show: false }, cursor: { show: false }, axes: [{ show: false }, { show: false }],
      scales: { x: { time: false, range: () => [0, duration] }, y: { range: () => [0, 1] } },
      series: [{}, { stroke: accent, fill: ink.getPropertyValue("--tint").trim(), width: 1.5, paths: uPlot.paths.stepped({ align: 1 }), points: { show: false } }],
    }, data, one.plot);
  }
  return {
    at(seconds) {
      const i = Math.min(rows.length - 1, Math.floor(seconds / timeline.window_s));
      for (const one of made) one.value.textContent = `likeness ${one.values[i].toFixed(2)}`;
    },
    resize() {
      for (const one of made) one.chart.setSize({ width: Math.max(1, one.plot.clientWidth), height: 32 });
    },
    close() {
      for (const one of made) one.chart.destroy();
      put(place);
    },
  };
}
