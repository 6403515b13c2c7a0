// Trace: what went into a sound, and how sure that is.

import { app } from "../app.js";
import { send } from "../api.js";
import { button, h, percent, put, table, when } from "../dom.js";
import { save } from "../files.js";
import { problemNotice } from "../problems.js";
import { asking } from "../sending.js";
import { dropZone } from "../tray.js";
import { everyOne } from "../words.js";

const BY = { manifest: "its content credentials", watermark: "its watermark", fingerprint: "its fingerprint", hash: "its samples, which are in the ledger" };

export function show(place) {
  const answer = h("div", { class: "stack", "aria-live": "polite" });
  const zone = dropZone("Drop any audio: a master, a clip, an MP3 of it", "audio/*,video/*,.wav,.flac,.mp3,.ogg,.aiff,.m4a,.aac,.wma,.wv,.ape,.mka,.caf", trace, true);
  let aborted = null;
  put(place, h("div", { class: "stack" },
    h("div", { class: "page-head" }, h("h1", {}, "Trace"), h("span", { class: "muted" }, "Was this made here, and of what?")),
    zone,
    answer));

  async function trace(file) {
    aborted?.abort();
    aborted = new AbortController();
    zone.classList.remove("big");
    put(answer, h("div", { class: "panel stack tight" }, h("p", {}, `Reading ${file.name}: credentials, watermark, fingerprint…`), h("progress", { "aria-label": "Tracing" })));
    try {
      put(answer, verdict(await send("/v1/trace", file, { signal: aborted.signal }), file));
    } catch (problem) {
      if (problem.name !== "AbortError") put(answer, problemNotice(problem));
    }
  }

  return () => aborted?.abort();
}

/** The whole answer, or, without the scope `trace`, whether it was made here and whom to ask. */
function verdict(found, file) {
  if (found.statement) {
    return h("section", { class: "panel stack", "aria-label": "Verdict" },
      h("p", { class: "muted" }, file.name),
      h("p", { class: "verdict" }, found.made_with_ai_by_this_system ? "Made here" : "Not found"),
      h("p", {}, found.statement),
      h("p", {}, found.contact ? `Questions about its sources: ${found.contact}` : "Its sources are shown to keys with the scope “trace”: ask the operator of this service."));
  }
  if (!found.found) {
    return h("section", { class: "panel stack", "aria-label": "Verdict" },
      h("p", { class: "verdict" }, "Not found"),
      h("p", {}, `Nothing in ${file.name} says that this system made it.`),
      found.explanation && h("p", { class: "muted" }, found.explanation),
      odd(found),
      contact(found));
  }
  const sources = found.sources ?? [];
  const revoked = sources.filter((one) => one.revoked || one.license_now?.granted === false);
  const confidence = Number.isFinite(found.confidence) ? `${(100 * found.confidence).toFixed(0)} % sure` : "";
  return [
    h("section", { class: "panel stack", "aria-label": "Verdict" },
      h("p", { class: "muted" }, file.name),
      h("p", { class: "verdict" }, headline(found)),
      h("p", {}, [found.by && `Known by ${BY[found.by] ?? found.by}`, confidence, found.created && `made ${when(found.created)}`, found.model && `with ${found.model}`].filter(Boolean).join(", "), "."),
      found.transplanted && h("div", { class: "notice bad" }, found.ranges?.some((one) => one.transplanted) ? "Part of this file is something else, and the mark was moved there: see the time ranges." : "A mark or content credentials in this file belong to another sound: they were moved here."),
      found.checked === false && h("div", { class: "notice warn" }, "It was not checked whether the mark is this sound's own."),
      found.ranges?.length > 1 && timeRanges(found.ranges),
      found.explanation && !found.evidence?.some((one) => one.says === found.explanation) && h("p", { class: "muted" }, found.explanation),
      odd(found),
      revoked.length > 0 && h("div", { class: "notice bad" }, `Revoked or expired since: ${revoked.map((one) => one.title).join(", ")}.`),
      contact(found)),
    sources.length > 0 && h("section", { class: "panel stack", "aria-label": "Sources" },
      h("h2", {}, "Sources"),
      table("Sources", ["Source", "Holder", "License", "Today", "Words", "Sound", "Likeness"], sources.map((one) => h("tr", {},
        h("td", {}, h("b", {}, one.title || one.stem.slice(0, 12)), h("div", { class: "muted" }, one.artist)),
        h("td", {}, everyOne(one, "holder")), h("td", {}, everyOne(one, "license")),
        h("td", {}, one.revoked ? h("span", { class: "badge bad" }, "revoked") : one.license_now?.granted ? h("span", { class: "badge good" }, "granted") : h("span", { class: "badge warn", title: one.license_now?.reason ?? "" }, one.license_now?.reason || "unknown")),
        h("td", {}, percent(one.used?.prompt)), h("td", {}, percent(one.used?.init)), h("td", {}, one.similar == null ? "–" : one.similar.toFixed(2))))),
      found.hidden_sources > 0 && h("p", { class: "muted" }, `${found.hidden_sources} more belong to libraries that this key does not see.`)),
    found.proof && proof(found),
    app.may("trace") && report(file),
  ];
}

/** What the file is, as the report has it: an output, a part of one, or only its mark. */
function headline(found) {
  const output = found.output ? `output ${found.output}` : "an output of this system";
  if (found.transplanted && !found.model_share) return `A mark of ${output}, moved to another sound`;
  if (found.checked === false) return `The mark of ${output}: not checked`;
  const judged = new Set((found.ranges ?? []).filter((one) => one.checked).map((one) => `${one.output} ${one.transplanted}`));
  return judged.size > 1 ? `In part made here: ${output}` : `Made here: ${output}`;
}

/** What the file is, from where to where. */
function timeRanges(ranges) {
  const what = (one) => (one.output ? `output ${one.output}` : one.checked ? "no output that can be named" : "too little to tell") + (one.transplanted ? "; the mark was moved here" : "");
  return table("In time", ["From", "To", "The sound is"], ranges.map((one) => h("tr", {},
    h("td", {}, `${one.start_s.toFixed(1)} s`), h("td", {}, `${one.end_s.toFixed(1)} s`), h("td", {}, what(one)))));
}

/** What was cut or odd in the file. */
function odd(found) {
  return found.notices?.map((notice) => h("p", { class: "muted" }, `Noticed: ${notice}`));
}

function contact(found) {
  return found.contact && h("p", {}, `Questions: ${found.contact}`);
}

function proof(found) {
  const said = found.proof;
  return h("section", { class: "panel stack", "aria-label": "Proof" },
    h("h2", {}, "Proof"),
    h("p", {}, `Entry ${said.seq} of ${said.size} in the ledger; ${said.path.length} hashes lead from it to the signed root.`),
    found.evidence?.length > 0 && h("ul", {}, found.evidence.map((one) => h("li", {}, `${one.says} (${(100 * one.confidence).toFixed(0)} %)`))),
    h("details", {}, h("summary", {}, "Hashes"), h("dl", { class: "mono" },
      h("dt", {}, "entry"), h("dd", {}, said.leaf_hash), h("dt", {}, "root"), h("dd", {}, said.root),
      said.path.map((hash, i) => [h("dt", {}, `path ${i + 1}`), h("dd", {}, hash)]))),
    h("div", { class: "row" },
      button("Save the proof", () => save(new Blob([JSON.stringify(said, null, 2)], { type: "application/json" }), `rag-audio-proof-${said.seq}.json`)),
      h("a", { class: "button", href: `/v1/ledger/entries/${said.seq}`, download: `rag-audio-entry-${said.seq}.json` }, "The entry"),
      h("a", { class: "button", href: "/v1/ledger/checkpoint", download: "rag-audio-checkpoint.txt" }, "The signed checkpoint")));
}

function report(file) {
  const said = h("div", {});
  const name = `${file.name.replace(/\.[^.]*$/, "")}.trace.html`;
  const make = asking("Save the report", async () => {
    try {
      const answer = await send("/v1/trace?report=html", file, { raw: true });
      save(await answer.blob(), name);
    } catch (problem) { put(said, problemNotice(problem)); }
  }, { class: "main" });
  return h("section", { class: "panel stack", "aria-label": "Report" }, h("h2", {}, "Report"), h("p", { class: "muted" }, "One file with all of the above, for whoever asked."), h("div", {}, make), said);
}
