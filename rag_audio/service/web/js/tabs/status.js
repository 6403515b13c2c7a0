// Status: what runs, how much waits, and whether all parts are well.

import uPlot from "../../vendor/uplot/uPlot.esm.js";
import { refreshStatus } from "../app.js";
import { call } from "../api.js";
import { h, put, state } from "../dom.js";
import { problemNotice } from "../problems.js";

const EVERY_S = 3, KEPT = 100;
const seen = [[], [], []];

export function show(place) {
  let over = false, timer = null, chart = null;
  const parts = h("div", { class: "stack" });
  const plot = h("div", { class: "plot-box", role: "img", "aria-label": "Jobs waiting and running over the last minutes" });
  const figures = h("div", { class: "figures" });
  put(place,
    h("div", { class: "page-head" }, h("h1", {}, "Status"), h("span", { class: "muted" }, `every ${EVERY_S} s`)),
    h("div", { class: "columns" },
      h("div", { class: "stack" },
        h("section", { class: "panel stack", "aria-label": "Queue" }, h("h2", {}, "Queue"), figures, plot)),
      parts));
  look();

  async function look() {
    try {
      const status = await refreshStatus();
      const ready = await call("/readyz", { raw: true }).then((answer) => answer.json()).catch((problem) => problem);
      if (over) return;
      if (status?.queue) {
        note(status.queue);
        drawFigures(status.queue);
        drawChart();
      }
      put(parts, health(ready), status?.model || status?.embedder ? about(status) : status?.problem && problemNotice(status.problem));
    } catch (problem) {
      if (over) return;
      put(parts, h("section", { class: "panel" }, state("Reconnecting…", `${problem.message}. This page tries again every ${EVERY_S} s.`)));
    }
    if (!over) timer = setTimeout(look, 1000 * EVERY_S);
  }

  function note(queue) {
    seen[0].push(Date.now() / 1000);
    seen[1].push(queue.queued);
    seen[2].push(queue.running);
    for (const one of seen) if (one.length > KEPT) one.shift();
  }

  function drawFigures(queue) {
    const names = { queued: "waiting", running: "running", succeeded: "done", failed: "failed", canceled: "cancelled" };
    put(figures, Object.entries(names).map(([key, name]) => h("div", {}, h("span", {}, name), h("b", {}, queue[key] ?? 0))));
  }

  function drawChart() {
    const ink = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    if (chart) return chart.setData(seen);
    const axis = { stroke: ink("--muted"), grid: { stroke: ink("--line") }, ticks: { show: false }, font: "12px system-ui" };
    chart = new uPlot({
      width: Math.max(1, plot.clientWidth), height: 160, cursor: { show: false }, legend: { show: false },
      scales: { x: { range: () => [Date.now() / 1000 - EVERY_S * KEPT, Date.now() / 1000] }, y: { range: (_, low, high) => [0, Math.max(4, high)] } }, axes: [axis, { ...axis, size: 32, incrs: [1, 2, 5, 10, 50] }],
      series: [{}, { stroke: ink("--muted"), width: 1.5, dash: [4, 4], points: { show: false } }, { stroke: ink("--accent"), width: 2, points: { show: false } }],
    }, seen, plot);
    plot.after(h("p", { class: "hint" }, "Dashed: waiting. Solid: running."));
  }

  const resized = new ResizeObserver(() => chart?.setSize({ width: Math.max(1, plot.clientWidth), height: 160 }));
  resized.observe(plot);
  return () => { over = true; clearTimeout(timer); resized.disconnect(); chart?.destroy(); };
}

function health(ready) {
  const parts = Object.entries(ready.parts ?? { service: ready.detail ?? "does not answer" });
  return h("section", { class: "panel stack", "aria-label": "Health" }, h("h2", {}, "Health"),
    h("dl", {}, parts.map(([name, value]) => [h("dt", {}, name), h("dd", {}, h("span", { class: `badge ${value === "ok" ? "good" : "bad"}` }, String(value)))])));
}

function about(status) {
  const rows = [
    ["Version", status.version],
    ["Model", !status.model ? `none: ${status.model_problem?.message ?? "it cannot be loaded"}` : `${status.model.name}${status.model.untrained ? " (untrained)" : ""}`],
    ["Sound", status.model && `${status.model.sample_rate} Hz, ${status.model.channels === 1 ? "mono" : "stereo"}, up to ${status.model.max_duration_s} s at once`],
    ["Embedder", status.embedder && `${status.embedder.name}${status.embedder.untrained ? " (untrained)" : ""}`],
    ["Segments indexed", String(status.segments)],
    ["Territory", status.territory ?? "not set: worldwide licenses alone count"],
    ["Longest output", `${status.limits.max_duration_s} s`],
    ["Longest upload", `${status.limits.max_upload_s} s, ${status.limits.max_body_mb} MB`],
    ["You", status.caller.key ? `${status.caller.name}: ${status.caller.scopes.join(", ")}` : "no key is defined: nothing asks for one"],
    ["Libraries", status.caller.libraries ? status.caller.libraries.join(", ") : "all"],
    ["Contact", status.contact],
  ];
  return h("section", { class: "panel stack", "aria-label": "Service" }, h("h2", {}, "Service"),
    h("dl", {}, rows.filter(([, value]) => value).map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])),
    h("p", {}, h("a", { href: "/metrics" }, "Metrics"), " · ", h("a", { href: "/openapi.json" }, "OpenAPI")));
}
