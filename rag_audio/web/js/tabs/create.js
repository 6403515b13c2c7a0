// Create: say it, choose what it may draw on, ask for it.

import { app } from "../app.js";
import { get, post, store } from "../api.js";
import { button, field, fresh, h, put, select, slider, toast } from "../dom.js";
import { body, draft, keep, reset } from "../draft.js";
import { expert } from "../expert.js";
import { problemNotice, refusal } from "../problems.js";
import { told } from "../terms.js";
import { tray } from "../tray.js";
import { enriched, facts, hush } from "../words.js";

const NOTES = ["C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B"];
const KEYS = ["minor", "major"].flatMap((mode) => NOTES.map((note) => `${note} ${mode}`));
const PRESETS = {
  "Quick sketch": { duration_s: 4, takes: 1, strength: null, steps: 8 },
  "Standard": { duration_s: 8, takes: 2, strength: null, steps: "" },
  "Close to the references": { duration_s: 8, takes: 2, strength: 0.25, steps: "" },
  "Free": { duration_s: 8, takes: 4, strength: 0.8, steps: "" },
};

export function show(place) {
  let artists = [], over = false, timer = null, aborted = null;
  const answer = h("div", { "aria-live": "polite", class: "stack tight" });
  const preview = h("div", { class: "stack tight" });
  const artistPlace = h("div");
  const form = h("div", { class: "stack" });

  function changed() {
    keep();
    clearTimeout(timer);
    timer = setTimeout(look, 500);
  }

  const prompt = h("textarea", {
    value: draft.prompt, maxlength: 2000, rows: 3, placeholder: "warm electric piano over soft drums, late night",
    oninput: () => { draft.prompt = prompt.value; changed(); },
    onkeydown: (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) ask(); },
  });

  function take(words, artist) {
    prompt.value = draft.prompt = words;
    draft.artist = artist;
    drawArtists();
    put(answer);
    prompt.focus();
    changed();
  }

  function drawArtists() {
    const licensed = artists.filter((one) => one.style);
    const other = artists.length - licensed.length;
    const name = fresh("artist");
    const options = [null, ...licensed].map((one) => h("label", { class: "check" },
      h("input", { type: "radio", name, checked: (one?.artist ?? null) === draft.artist, onchange: () => { draft.artist = one?.artist ?? null; changed(); } }),
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
    aborted = new AbortController();
    try {
      const { plan } = await post("/v1/plans", body(), { signal: aborted.signal });
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
  const go = h("button", { type: "button", class: "main", onclick: ask, disabled: noModel, title: noModel ? "No model can be loaded" : null }, "Generate");
  async function ask() {
    if (!draft.prompt.trim()) { prompt.focus(); return put(answer, h("div", { class: "notice bad", role: "alert" }, "The prompt is empty: say what the music should be like.")); }
    go.disabled = true;
    put(answer, h("p", { class: "muted" }, "Checking rights and rules…"));
    try {
      const job = await post("/v1/generations", body(), { headers: { "Idempotency-Key": crypto.randomUUID?.() ?? String(Math.random()) } });
      if (!draft.locked) { draft.seed = String(job.request.seed ?? ""); keep(); }
      store.set("last", job.id);
      location.hash = `#/result/${job.id}`;
    } catch (problem) {
      put(answer, explained(problem));
    } finally {
      go.disabled = false;
    }
  }

  function draw() {
    const limit = app.status?.limits?.max_duration_s ?? 190;
    const fields = {
      bpm: slider("Tempo", { min: 40, max: 220, step: 1, value: draft.bpm, unit: "bpm", placeholder: 120, hint: "empty: as the references" }),
      duration_s: slider("Duration", { min: 0.5, max: limit, step: 0.5, value: draft.duration_s, unit: "s" }),
      strength: slider("Strength", { min: 0.05, max: 1, step: 0.05, value: draft.strength, placeholder: app.status?.model?.default_strength ?? 0.4, hint: "low: near the references; 1: free" }),
    };
    for (const [name, one] of Object.entries(fields)) one.addEventListener("moved", () => { draft[name] = one.value; changed(); });
    const key = select([["", "As the references"], ...KEYS.map((one) => [one, one])], draft.key, () => { draft.key = key.value; changed(); });
    const seed = h("input", { inputmode: "numeric", pattern: "[0-9]*", value: draft.seed, maxlength: 19, size: 12, placeholder: "any", oninput: () => { draft.seed = seed.value; draft.locked = seed.value !== ""; lock.setAttribute("aria-pressed", draft.locked); keep(); } });
    const lock = button("Lock", () => { draft.locked = !draft.locked; lock.setAttribute("aria-pressed", draft.locked); keep(); }, { "aria-pressed": draft.locked, title: "Locked: the same seed again. Unlocked: a new one each time." });
    const seedField = field("Seed", seed);
    seedField.append(lock);
    seedField.classList.add("seed");
    const takesName = fresh("takes");
    const takes = h("fieldset", { class: "field" }, h("legend", {}, h("span", { class: "legend" }, "Takes")),
      h("div", { class: "row" }, [1, 2, 3, 4].map((n) => h("label", { class: "check" },
        h("input", { type: "radio", name: takesName, checked: draft.takes === n, onchange: () => { draft.takes = n; keep(); } }), n))));
    put(form,
      h("section", { class: "panel stack", "aria-label": "What to make" },
        field("Prompt", prompt),
        artistPlace,
        h("div", { class: "row" }, go, button("Clear", () => { reset(); prompt.value = ""; draw(); look(); }, { class: "plain" }), h("span", { class: "muted keys-hint" }, "Ctrl + Enter")),
        answer),
      h("section", { class: "panel stack", "aria-label": "Settings" },
        presets(),
        h("div", { class: "grid" }, fields.bpm, field("Key", key), fields.duration_s, fields.strength, takes, seedField),
        expert(changed)));
    drawArtists();
  }

  function presets() {
    const own = store.get("presets", {});
    const all = { ...PRESETS, ...own };
    const name = h("input", { maxlength: 40, placeholder: "name", "aria-label": "Name of the new preset" });
    const choice = select([["", "Choose…"], ...Object.keys(all).map((one) => [one, one])], "", () => {
      const preset = all[choice.value];
      if (!preset) return;
      const { steps, ...plain } = preset;
      Object.assign(draft, plain);
      if (steps !== undefined) draft.expert.steps = steps;
      changed();
      draw();
      toast(`Preset: ${choice.value || "taken"}`);
    });
    const saveIt = button("Save these", () => {
      if (!name.value.trim()) return name.focus();
      const { duration_s, takes, strength, bpm, key } = draft;
      own[name.value.trim()] = { duration_s, takes, strength, bpm, key, steps: draft.expert.steps ?? "" };
      store.set("presets", own);
      draw();
      toast("Preset saved on this device");
    });
    return h("div", { class: "row end" }, field("Preset", choice), h("div", { class: "row" }, name, saveIt));
  }

  put(place,
    h("h1", { class: "sr" }, "Create"),
    h("div", { class: "columns" }, form,
      h("div", { class: "stack" },
        h("section", { class: "panel stack tight", "aria-label": "What the model would be given" }, h("h2", {}, "Your words, enriched"), preview),
        tray(changed))));
  draw();
  look();
  get("/v1/artists").then((found) => { artists = found.artists; if (!over) { drawArtists(); } }).catch(() => {});
  return () => { over = true; clearTimeout(timer); aborted?.abort(); hush(); };
}
