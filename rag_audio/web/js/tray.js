// The reference tray: find stems, bring a file, hum; a weight and a region for each.

import { get, post, send } from "./api.js";
import { decode } from "./player.js";
import { button, field, h, put, select, slider, toast } from "./dom.js";
import { draft, keep, useAsReference } from "./draft.js";
import { wav } from "./files.js";
import { problemNotice } from "./problems.js";
import { facts, licenseBadge, listen, listenButton } from "./words.js";

const USES = [["", "its melody, if it is one voice"], ["melody", "its melody"], ["search", "finding references like it"]];

let regions = null;

/** Whether this service lets one say which part of a reference is used. */
function takesRegions() {
  regions ??= get("/openapi.json")
    .then((api) => JSON.stringify(api.components.schemas.GenerationAsked.properties.references).includes("anyOf"))
    .catch(() => false);
  return regions;
}

/** An area that takes files by drop or by choice. */
export function dropZone(text, accept, take, big = false) {
  const input = h("input", { type: "file", accept, "aria-label": text, onchange: () => { if (input.files[0]) take(input.files[0]); input.value = ""; } });
  const zone = h("div", {
    class: `drop ${big ? "big" : ""}`,
    ondragover: (event) => { event.preventDefault(); zone.classList.add("over"); },
    ondragleave: () => zone.classList.remove("over"),
    ondrop: (event) => {
      event.preventDefault();
      zone.classList.remove("over");
      if (event.dataTransfer.files[0]) take(event.dataTransfer.files[0]);
    },
  }, h("span", {}, text), input);
  return zone;
}

export function tray(changed) {
  const chosen = h("ul");
  const found = h("div", { "aria-live": "polite" });
  const said = h("div", { role: "alert" });

  async function draw() {
    const stems = draft.tray.filter((one) => one.stem);
    put(chosen, draft.tray.map((one) => (one.stem ? stemItem(one, stems.length > 1) : uploadItem(one))),
      draft.tray.length === 0 && h("li", { class: "muted" }, "Empty: the best licensed references are found by your words."));
  }

  function remove(one) {
    draft.tray = draft.tray.filter((other) => other !== one);
    keep();
    draw();
    changed();
  }

  function stemItem(one, weighed) {
    const about = h("div", {}, h("span", { class: "title" }, one.title ?? one.stem.slice(0, 12)));
    const more = h("div", { class: "wide stack tight" });
    get(`/v1/stems/${one.stem}`).then(async (stem) => {
      one.title = stem.title || stem.path;
      put(about, h("span", { class: "title" }, one.title), h("div", { class: "meta" }, facts(stem), licenseBadge(stem)));
      more.prepend(listen(stem));
      if (stem.revoked) more.prepend(h("div", { class: "notice bad" }, "The license of this stem was revoked: it cannot be used. Take it out."));
      if (await takesRegions()) more.append(region(one, stem.duration_s));
    }).catch((problem) => more.prepend(problemNotice(problem)));
    if (weighed) {
      const weight = slider("Weight", { min: 0, max: 4, step: 0.1, value: one.weight });
      weight.addEventListener("moved", () => { one.weight = weight.value ?? 1; keep(); changed(); });
      more.append(weight);
    }
    return h("li", { class: "item" }, about, button("Remove", () => remove(one), { class: "plain", "aria-label": `Remove ${one.title ?? "reference"}` }), more);
  }

  /** Which part of a stem is used; both fields empty: the best one is chosen. */
  function region(one, duration) {
    const number = (value, label) => h("input", { type: "number", min: 0, max: duration, step: 0.1, value: value ?? "", placeholder: "auto", "aria-label": label });
    const end = one.start_s == null || one.duration_s == null ? null : one.start_s + one.duration_s;
    const from = number(one.start_s, "Region from, seconds"), to = number(end, "Region to, seconds");
    const set = () => {
      one.start_s = from.value === "" ? null : Number(from.value);
      one.duration_s = one.start_s !== null && Number(to.value) > one.start_s ? Number(to.value) - one.start_s : null;
      keep();
      changed();
    };
    from.onchange = to.onchange = set;
    return h("div", { class: "row" }, h("span", { class: "legend" }, "Region"), from, "to", to, h("span", { class: "muted" }, `of ${duration.toFixed(1)} s`));
  }

  function uploadItem(one) {
    const rights = select([["", "say whose it is…"], ["own", "it is mine"], ["licensed", "it is licensed to me"]], one.rights ?? "", () => { one.rights = rights.value; keep(); changed(); });
    const use = one.kind === "audio" && select(USES, one.as ?? "", () => { one.as = use.value; keep(); changed(); });
    return h("li", { class: "item" },
      h("div", {}, h("span", { class: "title" }, one.title), h("div", { class: "meta" }, h("span", {}, one.kind === "midi" ? "your MIDI" : "your sound"))),
      button("Remove", () => remove(one), { class: "plain", "aria-label": `Remove ${one.title}` }),
      h("div", { class: "wide row" }, field("Rights", rights), use && field("Used for", use)));
  }

  async function bring(file, title = file.name, as = "") {
    put(said, h("p", { class: "muted" }, `Reading ${title}…`));
    try {
      const upload = await send("/v1/uploads", file);
      draft.tray = draft.tray.filter((one) => one.kind !== upload.kind);
      draft.tray.push({ upload: upload.id, kind: upload.kind, title, rights: "", as });
      keep();
      put(said);
      draw();
      changed();
      if (as !== "melody") find({ upload: upload.id });
    } catch (problem) {
      put(said, problemNotice(problem));
    }
  }

  async function find(asked) {
    put(found, h("p", { class: "muted" }, "Searching…"));
    try {
      const { references } = await post("/v1/search", { limit: 8, ...asked });
      put(found, references.length === 0
        ? h("p", {}, "No licensed match. Try other words, or look through the Library.")
        : h("ul", {}, references.map(foundItem)));
    } catch (problem) {
      put(found, problemNotice(problem));
    }
  }

  function foundItem(stem) {
    const add = button("Add", () => {
      toast(useAsReference(stem) ? `${stem.title || "Reference"} added` : "It is in the tray already");
      draw();
      changed();
    }, { "aria-label": `Add ${stem.title || stem.path}`, disabled: stem.revoked || !stem.granted.length });
    return h("li", { class: "item" },
      h("div", {}, h("span", { class: "title" }, stem.title || stem.path), h("div", { class: "meta" }, facts(stem), licenseBadge(stem))), h("div", { class: "row" }, listenButton(stem), add));
  }

  const words = h("input", { type: "search", placeholder: "brushed drums", maxlength: 200, "aria-label": "Search for references" });
  const search = h("form", { class: "row", onsubmit: (event) => { event.preventDefault(); find({ text: words.value.trim() || draft.prompt.trim() || "music" }); } },
    words, h("button", {}, "Search"));
  draw();
  return h("section", { class: "panel stack", "aria-label": "References" },
    h("h2", {}, "References"), chosen, search, found,
    dropZone("Drop audio or MIDI, or choose a file", "audio/*,.mid,.midi,.wav,.flac,.ogg,.mp3,.aiff", (file) => bring(file)),
    h("div", { class: "row" }, microphone(bring, said)), said);
}

/** Hum a melody: recorded, turned into WAV here, brought like any file. */
function microphone(bring, said) {
  let recorder = null;
  const label = h("span", {}, "Hum into the microphone");
  const toggle = h("button", { type: "button", "aria-pressed": "false", onclick: () => (recorder ? recorder.stop() : start()) }, label);
  const time = h("span", { class: "muted", role: "timer" });
  async function start() {
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ audio: { echoCancellation: false, noiseSuppression: false } });
    } catch (error) {
      return put(said, h("div", { class: "notice warn" }, `The microphone cannot be used (${error?.name ?? "it needs https or localhost"}). Allow it in the browser, or drop a recording.`));
    }
    const pieces = [], began = performance.now();
    recorder = new MediaRecorder(stream);
    const ticking = setInterval(() => {
      const spent = (performance.now() - began) / 1000;
      time.textContent = `${spent.toFixed(0)} s`;
      if (spent > 30 || !toggle.isConnected) recorder?.stop();
    }, 250);
    recorder.ondataavailable = (event) => pieces.push(event.data);
    recorder.onstop = async () => {
      clearInterval(ticking);
      for (const track of stream.getTracks()) track.stop();
      recorder = null;
      time.textContent = "";
      label.textContent = "Hum into the microphone";
      toggle.setAttribute("aria-pressed", "false");
      try {
        const buffer = await decode(await new Blob(pieces).arrayBuffer());
        await bring(wav(buffer), "what you hummed", "melody");
      } catch {
        put(said, h("div", { class: "notice warn" }, "Nothing was recorded; hold on a little longer."));
      }
    };
    recorder.start();
    label.textContent = "Stop and use it";
    toggle.setAttribute("aria-pressed", "true");
  }
  return [toggle, time];
}
