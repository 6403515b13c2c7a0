// Make part of a take again, go on from it, or vary it.

import { app } from "./app.js";
import { checks, mark } from "./checks.js";
import { button, field, h, put, select, slider } from "./dom.js";
import { keptFields } from "./kept.js";
import { limit, metreFault, numberFault, regionFault, seedFault, takeCounts, textFault } from "./limits.js";
import { problemNotice } from "./problems.js";
import { kept, unsaid } from "./request.js";
import { asker, guarded, make } from "./sending.js";
import { RIGHTS } from "./terms.js";

const OWN = ["kind", "generation", "take", "upload"];
const ASKS = { inpaint: "Make this part again", extend: "Go on from it", vary: "Make a variation" };
const KINDS = { inpaint: "made a part again", extend: "went on from it", vary: "varied it" };

/**
 * @param {{generation: string} | {upload: string}} source what is changed
 * @param {object} parts of the stage: duration, take, setRegion, onregion
 * @param {object|null} older the request of an earlier edit, to ask for again
 * @param {{words: boolean, rights: boolean}} needs of an upload: what has to be said of it
 */
export function edits(source, parts, older = null, needs = { words: false, rights: false }) {
  const form = checks();
  const said = h("div", { "aria-live": "polite" });
  const regions = regionRows(parts, form);
  const words = h("input", { maxlength: limit("prompt", "EditAsked").maxLength ?? 2000, placeholder: source.upload ? "bowed strings, slow" : "the same words" });
  const room = Math.max(1, Math.floor((app.status?.limits?.max_duration_s ?? 190) - parts.duration));
  const longer = (label, value) => slider(label, { min: 0, max: room, step: 0.5, value, unit: "s", placeholder: 0 });
  const before = longer("Add at the start", null), after = longer("Add at the end", 4);
  const strength = slider("Strength of the change", { min: 0.01, max: 1, step: 0.01, value: null, placeholder: 0.5, hint: "empty: 0.7 for a part, 0.5 to go on, the model's own to vary" });
  const seed = h("input", { inputmode: "numeric", maxlength: 30, placeholder: "any" });
  const takes = select(takeCounts(older?.variations ?? 1).map((n) => [String(n), String(n)]), "1");
  const metre = h("input", { placeholder: source.upload ? "as the sound" : "as the take" });
  const rights = source.upload && select(RIGHTS, "");
  const rest = {};
  const rule = { ...limit("left_s", "EditAsked"), maximum: room };
  const neither = () => ((before.value ?? 0) + (after.value ?? 0) > 0 ? "" : "Say how many seconds are added, at the start or at the end.");
  const wordless = () => (needs.words && !words.value.trim() ? "Say what the new sound should be like: an upload has no prompt of its own." : "");
  form.watch(before.input, () => numberFault(before.input, rule, "s"), () => "/left_s");
  form.watch(after.input, () => numberFault(after.input, rule, "s") || neither(), () => "/right_s");
  form.watch(strength.input, () => numberFault(strength.input, limit("strength", "EditAsked")), () => "/strength");
  form.watch(words, () => textFault(words.value, limit("prompt", "EditAsked")) || wordless(), () => "/prompt");
  form.watch(seed, () => seedFault(seed.value.trim()), () => "/seed");
  form.watch(takes, undefined, () => "/variations");
  form.watch(metre, () => metreFault(metre.value.trim()), () => "/time_signature");
  if (rights) form.watch(rights, () => (needs.rights && !rights.value ? "Say whose this sound is." : ""), () => "/audio_rights");
  const drop = keptFields(rest, "EditAsked", () => {});

  function asked(kind) {
    const body = { kind, ...source };
    if (source.generation) body.take = parts.take + 1;
    if (words.value.trim()) body.prompt = words.value.trim();
    if (kind === "inpaint") body.regions = regions.values();
    if (kind === "extend" && before.value) body.left_s = before.value;
    if (kind === "extend" && after.value) body.right_s = after.value;
    if (strength.value !== null) body.strength = strength.value;
    if (seed.value.trim() && !seedFault(seed.value.trim())) body.seed = String(BigInt(seed.value.trim()));
    if (takes.value !== "1") body.variations = Number(takes.value);
    if (metre.value.trim()) body.time_signature = metre.value.split("/").map(Number);
    if (rights && rights.value) body.audio_rights = rights.value;
    return { ...kept(rest, "EditAsked"), ...body };
  }

  async function ask(kind) {
    const belongs = (control) => (kind === "inpaint" || !regions.element.contains(control))
      && (kind === "extend" || (control !== before.input && control !== after.input));
    if (form.stop(belongs)) return put(said, h("div", { class: "notice bad", role: "alert" }, "Nothing was sent: something is wrong. It is marked, with what would be right."));
    put(said, h("p", { class: "muted" }, "Asking…"));
    const from = asker(element);
    try {
      return from.job(await make("/v1/edits", asked(kind)));
    } catch (problem) {
      if (from.problem(problem)) return false;
      put(said, problemNotice(problem));
      form.blame(problem);
      return false;
    }
  }
  /** One request at a time: each of the three leads to another page. */
  const send = (kind) => guarded(() => Object.values(go), () => ask(kind));

  /** The form as an earlier edit had it. */
  function fill() {
    if (older.take > 1) parts.choose?.(older.take - 1);
    words.value = older.prompt ?? "";
    if (older.regions?.length) regions.fill(older.regions);
    if (older.kind === "extend") { before.value = older.left_s || null; after.value = older.right_s || null; }
    strength.value = older.strength ?? null;
    seed.value = String(older.seed ?? "");
    takes.value = String(older.variations ?? 1);
    metre.value = older.time_signature?.join("/") ?? "";
    if (rights) rights.value = older.audio_rights ?? "";
    Object.assign(rest, unsaid(older, asked(older.kind), "EditAsked"));
    for (const name of OWN) delete rest[name];
    drop.draw();
  }

  const kinds = (kind) => (older ? older.kind === kind : kind === "inpaint") ? "main" : "";
  const go = Object.fromEntries(Object.entries(ASKS).map(([kind, text]) => [kind, button(text, send(kind), { class: kinds(kind) })]));
  const element = h("section", { class: "panel stack", "aria-label": source.upload ? "Change this sound" : "Change this take" },
    h("h2", {}, source.upload ? "Change this sound" : "Change this take"),
    older && h("p", { class: "notice" }, `The earlier request ${KINDS[older.kind] ?? "changed it"}; its fields are filled in. Change what you like, and ask again.`),
    regions.element,
    h("div", { class: "row" }, go.inpaint, button("Another part", regions.add, { class: "plain" }), button("Clear", regions.clear, { class: "plain", "aria-label": "Clear the parts" })),
    field("Words for the change", words),
    rights && field("Rights", rights, "needed, unless this sound was made here or is in the library"),
    h("div", { class: "grid" }, strength, field("Seed", seed), field("Takes", takes), field("Time signature", metre)),
    h("div", { class: "grid" }, before, after),
    h("div", { class: "row" }, go.extend, go.vary),
    drop.box, said);
  if (older) fill();
  return element;
}

/** Rows of two fields, a part each; the player's selection is the first. */
function regionRows(parts, form) {
  const shortest = app.status?.limits?.min_region_s ?? 0.1;
  const most = limit("regions", "EditAsked").maxItems ?? 16;
  const element = h("div", { class: "stack tight" });
  let rows = [], typing = false;

  function row() {
    const input = () => h("input", { type: "number", min: 0, max: parts.duration, step: "any" });
    const start = input(), end = input();
    const value = (one) => (one.value === "" ? null : Number(one.value));
    const one = { start, end, get region() { return [value(start), value(end)]; } };
    const why = (at, control) => () => {
      if (control.validity.badInput) return "This is no number.";
      const fault = regionFault(...one.region, { duration: parts.duration, shortest }) ?? overlap(one);
      return fault?.at === at ? fault.says : "";
    };
    const at = () => rows.indexOf(one);
    form.watch(start, why("from", start), () => `/regions/${at()}/0`);
    form.watch(end, why("to", end), () => `/regions/${at()}/1`);
    start.addEventListener("change", () => { if (end.value !== "") mark(end, why("to", end)()); });
    end.addEventListener("change", () => mark(start, why("from", start)()));
    one.fine = () => !regionFault(...one.region, { duration: parts.duration, shortest });
    for (const control of [start, end]) control.addEventListener("input", () => { if (rows[0] === one) show(one); });
    const out = rows.length > 0 && button("Remove", () => { const before = rows[at() - 1]; rows = rows.filter((other) => other !== one); one.element.remove(); name(); before.start.focus(); }, { class: "plain" });
    const [from, to] = [field(" ", start), field(" ", end)];
    one.element = h("div", { class: "row end region" }, from, to, out);
    one.name = (n) => {
      const of = n === 1 ? "" : ` of part ${n}`;
      from.firstChild.textContent = `From${of}, s`;
      to.firstChild.textContent = `To${of}, s`;
      if (out) out.setAttribute("aria-label", `Remove part ${n}`);
    };
    rows.push(one);
    element.append(one.element);
    name();
    return one;
  }

  /** Each part is named by its place. */
  function name() {
    rows.forEach((one, i) => one.name(i + 1));
  }

  /** What is wrong between this part and those before it. */
  function overlap(one) {
    const [from, to] = one.region;
    const other = rows.slice(0, rows.indexOf(one)).find((before) => before.fine() && from < before.region[1] && to > before.region[0]);
    return other ? { at: "from", says: `It overlaps the part from ${other.region[0]} to ${other.region[1]} s: make one of them.` } : null;
  }

  /** Select in the player what is typed, where that is a part. */
  function show(one) {
    typing = true;
    parts.setRegion(...(one.fine() ? one.region : [0, 0]));
    typing = false;
  }

  row();
  // To the millisecond, and not beyond the end: what is sent is what the fields say.
  const text = (seconds) => String(Math.floor(seconds * 1000 + 1e-6) / 1000);
  parts.onregion((region) => {
    if (typing) return;
    const [first] = rows;
    first.start.value = region ? text(region[0]) : "";
    first.end.value = region ? text(region[1]) : "";
    for (const control of [first.start, first.end]) mark(control, "");
  });

  return {
    element,
    values: () => rows.map((one) => one.region),
    add: () => { if (rows.length < most) row().start.focus(); },
    clear() {
      for (const one of rows.slice(1)) one.element.remove();
      rows = rows.slice(0, 1);
      for (const control of [rows[0].start, rows[0].end]) { control.value = ""; mark(control, ""); }
      show(rows[0]);
    },
    fill(regions) {
      while (rows.length < regions.length) row();
      regions.forEach(([from, to], i) => { rows[i].start.value = from; rows[i].end.value = to; });
      show(rows[0]);
    },
  };
}
