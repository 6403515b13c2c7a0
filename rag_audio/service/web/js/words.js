// The enriched prompt as a difference, and badges that every tab shows alike.

import { h, toast } from "./dom.js";

/** A field of a source, and of whoever else claims the same bytes while nobody has decided. */
export const everyOne = (source, field) => [...new Set([source, ...(source.also ?? [])].map((one) => one[field]))].join(" / ");

/** The user's words, and what each reference adds to them. */
export function enriched(plan) {
  const letters = [...plan.enriched_prompt];
  const named = new Map(plan.references.map((one, i) => [one.stem.id, `${i + 1}. ${one.stem.title || one.stem.path}`]));
  const parts = [];
  let at = 0;
  for (const span of plan.spans) {
    if (span.start > at) parts.push(h("span", { class: "sep" }, letters.slice(at, span.start).join("")));
    const text = letters.slice(span.start, span.end).join("");
    const from = named.get(span.stem);
    parts.push(span.stem ? h("ins", { title: from ? `from ${from}` : "added" }, text) : h("span", {}, text));
    at = span.end;
  }
  parts.push(letters.slice(at).join(""));
  return h("p", { class: "words" }, parts);
}

const USES = { init_audio: "sound", prompt: "words", style: "style", train: "training" };

/** What a stem's license lets one do, today. */
export function licenseBadge(stem) {
  if (stem.revoked) return h("span", { class: "badge bad" }, "revoked");
  const granted = (stem.granted ?? []).map((use) => USES[use] ?? use);
  if (!granted.length) return h("span", { class: "badge bad", title: stem.refusal ?? "" }, "not licensed here");
  const limited = !stem.granted.includes("init_audio");
  return h("span", { class: `badge ${limited ? "warn" : "good"}`, title: `${stem.license}: ${stem.holder ?? ""}` }, `${granted.join(", ")}`);
}

/** A tempo or key that was enforced and is not met, as a sentence. */
export function unmet({ aim, wanted, heard }) {
  const said = (value) => (aim === "tempo" ? `${Number(value.toFixed(1))} bpm` : value);
  return `The ${aim} is not met: ${said(wanted)} was enforced, ${heard === null ? `no clear ${aim === "tempo" ? "pulse" : "key"}` : said(heard)} is heard.`;
}

export function facts(stem) {
  return [
    stem.artist, stem.kind === "midi" ? "MIDI" : "audio", stem.bpm && `${Math.round(stem.bpm)} bpm`, stem.key,
  ].filter(Boolean).map((text) => h("span", {}, text));
}

/** A player that loads nothing until it is played. */
export function listen(stem) {
  if (!stem.preview) return h("span", { class: "muted" }, "may not be heard");
  return h("audio", { controls: true, preload: "none", src: stem.preview, "aria-label": `Listen to ${stem.title || stem.path}` });
}

let heard = null;

/** A button that plays a stem's preview; one is heard at a time. For tables with many rows. */
export function listenButton(stem) {
  const name = stem.title || stem.path;
  if (!stem.preview) return h("span", { class: "muted", title: stem.refusal ?? "" }, "not licensed");
  const toggle = h("button", { type: "button", "aria-label": `Play ${name}`, onclick: () => {
    const mine = heard?.toggle === toggle;
    heard?.stop();
    if (!mine) start();
  } }, "Play");
  function start() {
    const sound = new Audio(stem.preview);
    const stop = () => {
      sound.pause();
      toggle.textContent = "Play";
      toggle.setAttribute("aria-label", `Play ${name}`);
      heard = null;
    };
    heard = { toggle, stop };
    toggle.textContent = "Stop";
    toggle.setAttribute("aria-label", `Stop ${name}`);
    sound.onended = stop;
    sound.play().catch(() => { if (heard?.toggle === toggle) { stop(); toast(`${name} cannot be played here`); } });
  }
  return toggle;
}

/** End the preview that is heard, if any. */
export const hush = () => heard?.stop();

export const STATES = { queued: "queued", running: "running", succeeded: "done", failed: "failed", canceled: "cancelled" };

export function stateBadge(name) {
  const kind = { succeeded: "good", failed: "bad", running: "mine", queued: "mine" }[name] ?? "";
  return h("span", { class: `badge ${kind}` }, STATES[name] ?? name);
}
