// Create: say it, choose what it may draw on, ask for it.

import { app } from "../app.js";
import { get, post } from "../api.js";
import { checks } from "../checks.js";
import { button, field, fresh, h, put, select, slider, toast } from "../dom.js";
import { begin, draft, keep, turn } from "../draft.js";
import { expert } from "../expert.js";
import { keptFields } from "../kept.js";
import { bounds, limit, numberFault, seedFault, takeCounts, takesFault, textFault } from "../limits.js";
import { presets } from "../presets.js";
import { problemNotice, refusal } from "../problems.js";
import { asked } from "../request.js";
import { asker, guarded, make } from "../sending.js";
import { told } from "../terms.js";
import { tray } from "../tray.js";
import { enriched, facts, hush } from "../words.js";

const NOTES = ["C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B"];
const KEYS = ["minor", "major"].flatMap((mode) => NOTES.map((note) => `${note} ${mode}`));
const WRONG = "Nothing was sent: something in the form is wrong. It is marked, with what would be right.";

export function show(place) {
  let close = build(place, anew);
  /** All of the tab from the draft, as on a page that was just opened. */
  function anew() {
    close();
    close = build(place, anew);
    place.querySelector("textarea").focus();
  }
  return () => close();
}

function build(place, anew) {
  let artists = [], over = false, timer = null, aborted = null;
  const answer = h("div", { "aria-live": "polite", class: "stack tight" });
  const preview = h("div", { class: "stack tight" });
  const artistPlace = h("div");
  const left = h("div", { class: "stack" });
  const form = checks();

  /** After a field was set; what was kept of it from an earlier request is said anew by that. */
  function changed(name) {
    delete draft.rest[name];
    keep();
    kept.draw();
    references.weights();
    parts?.update();
    clearTimeout(timer);
    timer = setTimeout(look, 500);
  }

  const prompt = h("textarea", {
    value: draft.prompt, maxlength: 2000, rows: 3, placeholder: "warm electric piano over soft drums, late night",
    oninput: () => { draft.prompt = prompt.value; changed("prompt"); },
    onkeydown: (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) ask(); },
  });

  form.watch(prompt, () => textFault(draft.prompt, limit("prompt")), () => "/prompt");

  function take(words, artist) {
    prompt.value = draft.prompt = words;
    draft.artist = artist;
    drawArtists();
    put(answer);
    prompt.focus();
    changed("artist");
  }

  function drawArtists() {
    const licensed = artists.filter((one) => one.style);
    const other = artists.length - licensed.length;
    const name = fresh("artist");
    const unknown = draft.artist !== null && !licensed.some((one) => one.artist === draft.artist);
    const options = [null, ...licensed, ...(unknown ? [{ artist: draft.artist, tags: [artists.length ? "not licensed by this name" : ""] }] : [])].map((one) => h("label", { class: "check" },
      form.watch(h("input", { type: "radio", name, checked: (one?.artist ?? null) === draft.artist, onchange: () => { draft.artist = one?.artist ?? null; changed("artist"); } }), undefined, () => "/artist"),
      h("span", {}, one ? one.artist : "No artist", one && h("span", { class: "muted" }, ` ${one.tags.slice(0, 2).join(", ")}`))));
    put(artistPlace, h("fieldset", { class: "field" },
      h("legend", {}, h("span", { class: "legend" }, "In the style of")),
      h("div", { class: "choices" }, options),
      other > 0 && h("span", { class: "hint" }, `${other} more in the library do not license their style.`)));
  }

  /** What the model would be given: shown as soon as one stops typing. */
  async function look() {
    aborted?.abort();
    if (!draft.prompt.trim()) return put(preview, h("p", { class: "muted" }, "Say what the music should be like; what the references add to your words shows here."));
    if (form.any()) return put(preview, h("p", { class: "muted" }, "Something in the form is wrong: what your words become shows here when it is right."));
    aborted = new AbortController();
    try {
      const { plan } = await post("/v1/plans", asked(), { signal: aborted.signal });
      if (over) return;
      put(preview, planned(plan));
    } catch (problem) {
      if (over || problem.name === "AbortError") return;
      put(preview, explained(problem));
    }
  }

  function explained(problem) {
    return problem.slug === "request-refused" ? refusal(problem, draft.prompt.trim(), artists, take) : problemNotice(problem);
  }

  function planned(plan) {
    const found = plan.references;
    return [
      enriched(plan),
      found.length === 0 && h("div", { class: "notice warn" },
        h("p", {}, "No licensed reference matches this: the model would work from your words alone."),
        h("p", { class: "muted" }, draft.artist || draft.bpm || draft.key ? "Widen the artist, tempo or key, or add a reference by hand." : "Add a reference by hand, or index more licensed music.")),
      found.length > 0 && h("ol", { class: "meta-list" }, found.map((one, i) => {
        const part = plan.seed_parts.find((seed) => seed.reference === i);
        return h("li", { class: "item" },
          h("div", {}, h("span", { class: "title" }, `${i + 1}. ${one.stem.title || one.stem.path}`), h("div", { class: "meta" }, facts(one.stem))),
          h("span", { class: "badge" }, part ? `${Math.round(100 * part.weight)} % of the seed` : "words only"));
      })),
      plan.notes.filter((note) => found.length > 0 || !note.startsWith("no licensed reference")).map((note) => h("p", { class: "muted" }, told(note))),
      h("p", { class: "meta" }, [
        plan.bpm && `${Math.round(plan.bpm)} bpm`, plan.key, `${plan.duration_s.toFixed(1)} s`, `strength ${plan.strength}`, `${plan.steps} steps`,
      ].filter(Boolean).map((text) => h("span", {}, text))),
    ];
  }

  const noModel = app.status && !app.status.problem && !app.status.model;
  const go = h("button", { type: "button", class: "main", onclick: () => ask(), disabled: noModel, title: noModel ? "No model can be loaded" : null }, "Generate");
  const ask = guarded(() => [go], async () => {
    if (noModel) return false;
    if (!draft.prompt.trim()) { prompt.focus(); return put(answer, h("div", { class: "notice bad", role: "alert" }, "The prompt is empty: say what the music should be like.")); }
    const wrong = () => form.stop() && put(answer, h("div", { class: "notice bad", role: "alert" }, WRONG));
    if (wrong()) return false;
    // What is sent is what was shown when it was asked for.
    const of = turn(), body = asked(), from = asker(go);
    try {
      await references.looked();
      if (wrong()) return false;
      put(answer, h("p", { class: "muted" }, "Checking rights and rules…"));
      const job = await make("/v1/generations", body);
      if (!draft.locked && of === turn()) { draft.seed = String(job.request.seed ?? ""); keep(); }
      return from.job(job);
    } catch (problem) {
      if (from.problem(problem)) return false;
      put(answer, explained(problem));
      form.blame(problem);
      return false;
    }
  });

  const kept = keptFields(draft.rest, "GenerationAsked", () => { keep(); references.draw(); changed(); });
  const references = tray(changed, form);
  let parts = null;

  function draw() {
    const numbers = sliders(changed, form);
    const key = select([["", "As the references"], ...new Set([...KEYS, draft.key].filter(Boolean))].map((one) => (Array.isArray(one) ? one : [one, one])), draft.key, () => { draft.key = key.value; changed("key"); });
    form.watch(key, undefined, () => "/key");
    const takesName = fresh("takes");
    const takes = h("fieldset", { class: "field" }, h("legend", {}, h("span", { class: "legend" }, "Takes")),
      h("div", { class: "row" }, takeCounts(draft.takes).map((n) => h("label", { class: "check" },
        form.watch(h("input", { type: "radio", name: takesName, checked: draft.takes === n, onchange: () => { draft.takes = n; keep(); } }), () => (draft.takes === n ? takesFault(n) : ""), () => "/variations"), n))));
    const more = expert(changed, form);
    parts = { update() { more.count(); numbers.update(); } };
    put(left,
      h("section", { class: "panel stack", "aria-label": "What to make" },
        field("Prompt", prompt),
        artistPlace,
        h("div", { class: "row" }, go, button("Clear", () => { begin(); anew(); toast("All is cleared"); }, { class: "plain" }), h("span", { class: "muted keys-hint" }, "Ctrl + Enter")),
        answer),
      h("section", { class: "panel stack", "aria-label": "Settings" },
        presets(() => { changed(); draw(); }, draw),
        h("div", { class: "grid" }, numbers.bpm, field("Key", key), numbers.duration_s, numbers.strength, takes, seedField(form)),
        more.element),
      kept.box);
    drawArtists();
    parts.update();
  }

  put(place,
    h("h1", { class: "sr" }, "Create"),
    h("div", { class: "columns" }, left,
      h("div", { class: "stack" },
        h("section", { class: "panel stack tight", "aria-label": "What the model would be given" }, h("h2", {}, "Your words, enriched"), preview),
        references.element)));
  draw();
  look();
  get("/v1/artists").then((found) => { artists = found.artists; if (!over) { drawArtists(); } }).catch(() => {});
  return () => { over = true; clearTimeout(timer); aborted?.abort(); references.close(); hush(); };
}

/** Tempo, duration and strength. */
function sliders(changed, form) {
  const most = Math.min(app.status?.limits?.max_duration_s ?? Infinity, limit("duration_s").maximum ?? 190);
  const rules = { bpm: limit("bpm"), duration_s: { ...limit("duration_s"), maximum: most }, strength: limit("strength") };
  const made = {
    bpm: slider("Tempo", { min: 20, max: 400, ...bounds("bpm"), step: 1, value: draft.bpm, unit: "bpm", placeholder: 120, hint: "empty: as the references" }),
    duration_s: slider("Duration", { min: 0.5, max: most, step: 0.5, value: draft.duration_s, unit: "s", placeholder: 10, hint: " " }),
    strength: slider("Strength", { min: 0.01, max: 1, step: 0.01, value: draft.strength, placeholder: app.status?.model?.default_strength ?? 0.4, hint: "low: near the references; 1: free" }),
  };
  const automatic = () => (draft.rest.auto_strength && draft.strength !== null ? "The earlier request had it chosen by scores and licenses: take that out, or empty this." : "");
  for (const [name, one] of Object.entries(made)) {
    one.addEventListener("moved", () => { draft[name] = one.value; changed(name); });
    form.watch(one.input, () => numberFault(one.input, rules[name], name === "duration_s" ? "s" : "") || (name === "strength" ? automatic() : ""), () => `/${name}`);
  }
  return {
    ...made,
    update() {
      const bars = Boolean(draft.expert.bars);
      made.duration_s.disabled = bars;
      made.duration_s.querySelector(".hint").textContent = bars ? "not used: the bars say how long it is" : "empty: as long as a brought melody, else 10 s";
    },
  };
}

function seedField(form) {
  const seed = h("input", { inputmode: "numeric", value: draft.seed, maxlength: 30, size: 12, placeholder: "any", oninput: () => { draft.seed = seed.value.trim(); draft.locked = draft.seed !== ""; tell(); keep(); } });
  const lock = button("Lock", () => { draft.locked = !draft.locked; tell(); keep(); }, { title: "Locked: the same seed again. Unlocked: a new one each time." });
  function tell() {
    lock.setAttribute("aria-pressed", draft.locked);
    lock.disabled = draft.seed === "";
  }
  if (draft.seed === "") draft.locked = false;
  tell();
  form.watch(seed, () => (draft.locked ? seedFault(draft.seed) : ""), () => "/seed");
  const element = field("Seed", seed);
  element.append(lock);
  element.classList.add("seed");
  return element;
}
