// The reference tray: find stems, bring a file, hum; a weight and a region for each.

import { get, post } from "./api.js";
import { mark } from "./checks.js";
import { decode } from "./player.js";
import { button, field, h, put, select, slider, toast } from "./dom.js";
import { brought, draft, keep, stated, stems, takeOut, turn, useAsReference } from "./draft.js";
import { wav } from "./files.js";
import { limit, numberFault, regionFault } from "./limits.js";
import { problemNotice } from "./problems.js";
import { weighs } from "./request.js";
import { guarded } from "./sending.js";
import { RIGHTS, RIGHTS_TO_BOTH } from "./terms.js";
import { bring, uploads, watchUploads } from "./uploads.js";
import { facts, licenseBadge, listen, listenButton } from "./words.js";

const USES = [["", "its melody, if it is one voice"], ["melody", "its melody"], ["search", "finding references like it"]];
const WEIGHT = { minimum: 0, maximum: 1000 };

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

/**
 * The tray; `weights()` shows or hides the weights when it has changed whether they say something,
 * `looked()` resolves when it is known of every upload whether it is still kept; `close()` ends it.
 *
 * @param {(name: string) => void} changed after what is sent has changed
 * @param {object} form the checks of the form
 */
export function tray(changed, form) {
  const chosen = h("ul");
  const found = h("div", { "aria-live": "polite" });
  const said = h("div", { role: "alert" });
  const looked = new Map();
  let weighed = false;

  function draw() {
    weighed = weighs();
    put(chosen, draft.tray.map((one) => (one.stem ? stemItem(one) : uploadItem(one))),
      draft.tray.length === 0 && h("li", { class: "muted" }, draft.rest.references ? "The references of the earlier request are kept, below." : "Empty: the best licensed references are found by your words."),
      brought().length > 1 && h("li", { class: "item" }, h("div", { class: "wide" }, rightsToBoth())));
  }

  /** What is on its way, or why it did not arrive. */
  function drawSaid() {
    const { names, problem } = uploads();
    put(said, names.length > 0 && h("p", { class: "muted" }, `Reading ${names.join(", ")}…`), problem && problemNotice(problem));
  }

  function remove(one) {
    takeOut(one);
    draw();
    changed("references");
  }

  function stemItem(one) {
    const about = h("div", {}, h("span", { class: "title" }, one.title ?? one.stem.slice(0, 12)));
    const more = h("div", { class: "wide stack tight" });
    const part = region(one);
    get(`/v1/stems/${one.stem}`).then((stem) => {
      one.title = stem.title || stem.path;
      put(about, h("span", { class: "title" }, one.title), h("div", { class: "meta" }, facts(stem), licenseBadge(stem)));
      more.prepend(listen(stem));
      if (stem.revoked) more.prepend(h("div", { class: "notice bad" }, "The license of this stem was revoked: it cannot be used. Take it out."));
      part.within(stem.duration_s);
    }).catch((problem) => more.prepend(problemNotice(problem)));
    if (weighed) {
      const weight = slider("Weight", { min: 0, max: 4, step: 0.1, value: one.weight, placeholder: 1, hint: "all empty: as near as each is to your words; found ones weigh 1" });
      weight.addEventListener("moved", () => { one.weight = weight.value; keep(); changed("weights"); });
      form.watch(weight.input, () => numberFault(weight.input, WEIGHT) || allZero(), () => `/weights/${stems().indexOf(one)}`);
      more.append(weight);
    }
    more.append(part.element);
    const out = button("Remove", () => remove(one), { class: "plain", "aria-label": `Remove ${one.title ?? "reference"}` });
    return h("li", { class: "item" }, about, form.watch(out, undefined, () => `/references/${stems().indexOf(one)}`), more);
  }

  const allZero = () => (draft.tray.filter((one) => one.stem).every((one) => one.weight === 0) ? "One of the weights must be above 0." : "");

  /** Which part of a stem is used; both fields empty: the best one is chosen. */
  function region(one) {
    const number = (value, label, placeholder) => h("input", { type: "number", min: 0, step: "any", value: value ?? "", placeholder, "aria-label": label });
    const from = number(one.start_s, "Region from, seconds", "auto"), to = number(one.end_s, "Region to, seconds", "auto");
    const whole = h("span", { class: "muted" });
    const shortest = limit("duration_s", "RegionAsked").minimum ?? 1;
    let duration = Infinity;
    const value = (input) => (input.value === "" ? null : Number(input.value));
    const why = (at, input) => () => {
      if (input.validity.badInput) return "This is no number.";
      const fault = regionFault(value(from), value(to), { duration, shortest, open: true });
      return fault?.at === at ? fault.says : "";
    };
    form.watch(from, why("from", from), () => `/references/${stems().indexOf(one)}/start_s`);
    form.watch(to, why("to", to), () => `/references/${stems().indexOf(one)}/duration_s`);
    const set = () => {
      one.start_s = value(from);
      one.end_s = value(to);
      to.placeholder = from.value === "" ? "auto" : "end";
      keep();
      changed("references");
    };
    from.oninput = to.oninput = set;
    // What is said of one end may be mended at the other.
    from.addEventListener("change", () => mark(to, why("to", to)()));
    to.addEventListener("change", () => mark(from, why("from", from)()));
    return {
      element: h("div", { class: "row region" }, h("span", { class: "legend" }, "Region"), from, "to", to, whole),
      within(seconds) {
        duration = seconds;
        from.max = to.max = seconds;
        whole.textContent = `of ${seconds.toFixed(1)} s`;
      },
    };
  }

  /** What is stated of one file, or of both at once: a request has one statement for all that is brought. */
  function rights(choices, files, value) {
    const choice = select(choices, value, () => {
      for (const one of files) one.rights = choice.value;
      keep();
      changed("audio_rights");
    });
    return form.watch(choice, undefined, () => "/audio_rights");
  }

  const rightsToBoth = () => field("Rights to both files", rights(RIGHTS_TO_BOTH, brought(), stated()), "A request has one statement for your sound and your MIDI: it must hold for both.");

  function uploadItem(one) {
    const use = one.kind === "audio" && select(USES, one.as ?? "", () => { one.as = use.value; keep(); changed("audio_as"); });
    const gone = h("div", { class: "notice bad wide", hidden: true }, "This upload is no longer kept here, so it cannot be used. Bring the file again, or take it out.");
    const out = button("Remove", () => remove(one), { class: "plain", "aria-label": `Remove ${one.title}` });
    form.watch(out, () => (gone.hidden ? "" : "Bring the file again, or take it out."), () => `/${one.kind}`);
    if (use) form.watch(use, undefined, () => "/audio_as");
    const alone = brought().length === 1;
    look(one.upload).then((kept) => { gone.hidden = kept; if (!kept) changed("uploads"); });
    return h("li", { class: "item" },
      h("div", {}, h("span", { class: "title" }, one.title), h("div", { class: "meta" }, h("span", {}, one.kind === "midi" ? "your MIDI" : "your sound"))),
      out, gone,
      h("div", { class: "wide row" }, alone && field("Rights", rights(RIGHTS, [one], one.rights ?? "")), use && field("Used for", use)));
  }

  /** Whether an upload is still kept; where nobody answers, the service will say so when it is asked. */
  function look(id) {
    if (!looked.has(id)) looked.set(id, get(`/v1/uploads/${id}`).then(() => true, (problem) => problem.status !== 404));
    return looked.get(id);
  }

  async function find(asked) {
    put(found, h("p", { class: "muted" }, "Searching…"));
    try {
      const { references, fits, notes, notices = [] } = await post("/v1/search", { limit: 8, ...asked });
      put(found,
        notices.map((notice) => h("p", { class: "muted" }, `Noticed in your file: ${notice}`)),
        fits === false ? notes.map((note) => h("p", { class: "muted" }, note)) : [],
        references.length === 0
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
      changed("references");
    }, { "aria-label": `Add ${stem.title || stem.path}`, disabled: stem.revoked || !stem.granted.length });
    return h("li", { class: "item" },
      h("div", {}, h("span", { class: "title" }, stem.title || stem.path), h("div", { class: "meta" }, facts(stem), licenseBadge(stem))), h("div", { class: "row" }, listenButton(stem), add));
  }

  const words = h("input", { type: "search", placeholder: "brushed drums", maxlength: 200, "aria-label": "Search for references" });
  const seek = h("button", {}, "Search");
  const sought = guarded(() => [seek], () => find({ text: words.value.trim() || draft.prompt.trim() || "music" }));
  const search = h("form", { class: "row", onsubmit: (event) => { event.preventDefault(); sought(); } }, words, seek);
  const close = watchUploads(drawSaid, (upload, as) => {
    draw();
    changed(upload.kind);
    if (as !== "melody") find({ upload: upload.id });
  });
  draw();
  drawSaid();
  const element = h("section", { class: "panel stack", "aria-label": "References" },
    h("h2", {}, "References"), chosen, search, found,
    dropZone("Drop audio or MIDI, or choose a file", "audio/*,video/*,.mid,.midi,.wav,.flac,.ogg,.mp3,.aiff,.m4a,.aac,.wma,.wv,.ape,.mka,.caf", (file) => bring(file)),
    h("div", { class: "row" }, microphone(said)), said);
  return {
    element,
    draw,
    close,
    weights() { if (weighs() !== weighed) draw(); },
    looked: () => Promise.all(brought().map((one) => look(one.upload))),
  };
}

/** Hum a melody: recorded, turned into WAV here, brought like any file. */
function microphone(said) {
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
    const pieces = [], began = performance.now(), of = turn();
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
        await bring(wav(buffer), "what you hummed", "melody", of);
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
