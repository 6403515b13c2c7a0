// Result: a job while it waits and runs, and what it made.

import { app } from "../app.js";
import { follow, get, post, store } from "../api.js";
import { button, clock, h, percent, put, state, table, toast } from "../dom.js";
import { downloads } from "../downloads.js";
import { edits } from "../edits.js";
import { lineage } from "../lineage.js";
import { problemNotice, marked } from "../problems.js";
import { reuse } from "../request.js";
import { asker, asking, make } from "../sending.js";
import { stage } from "../stage.js";
import { told } from "../terms.js";
import { enriched, everyOne, hush, licenseBadge, listenButton, stateBadge, unmet } from "../words.js";

const STAGES = { retrieve: "choosing references", generate: "generating", write: "checking, marking and signing" };

export function show(place, { id, query }) {
  let stop = null, closed = false, view = null;
  put(place, h("h1", { class: "sr" }, "Result"), h("p", { class: "muted" }, "Loading…"));
  if (id === "again") editAgain();
  else open();

  /** An edit's own form, filled in: on the take that it changed, or on the upload. */
  async function editAgain() {
    try {
      const edit = await get(`/v1/generations/${query.get("edit")}`);
      const older = { ...edit.request, ...(query.has("seed") ? { seed: query.get("seed"), variations: 1 } : {}) };
      const from = older.upload ? `/v1/uploads/${older.upload}` : `/v1/generations/${older.generation}`;
      const source = await get(from).catch((problem) => { if (problem.status === 404) return null; throw problem; });
      if (closed) return;
      if (source?.outputs?.length === 0) return draw(source);
      if (source === null) {
        return put(place, h("h1", { class: "sr" }, "Result"), state(older.upload ? "The upload is gone" : "The take is gone",
          `What this was made from is no longer kept here, so that it cannot be changed again. ${older.upload ? "Upload the sound again." : "What was made from it is still there."}`,
          link(`#/result/${edit.id}`, "Back to what was made"), link("#/create", "Create")));
      }
      if (older.upload) return uploaded(place, source, older, needs(edit));
      view = finished(place, source, older);
    } catch (problem) {
      if (!closed) put(place, h("h1", { class: "sr" }, "Result"), problemNotice(problem), link("#/history", "History"));
    }
  }

  async function open() {
    let job;
    try {
      job = id ? await get(`/v1/generations/${id}`) : (await get("/v1/generations?limit=1")).generations[0];
    } catch (problem) {
      if (closed) return;
      store.set("last", "");
      return put(place, h("h1", { class: "sr" }, "Result"), state(problem.status === 404 ? "Nothing here" : "It cannot be shown", problem.message, link("#/history", "History"), link("#/create", "Create")));
    }
    if (closed) return;
    if (!job) return put(place, h("h1", { class: "sr" }, "Result"), state("Nothing made yet", "What you generate shows here.", link("#/create", "Create", "main")));
    store.set("last", job.id);
    draw(job);
  }

  function draw(job) {
    view?.();
    view = null;
    if (job.state === "queued" || job.state === "running") return waiting(job);
    if (job.state === "succeeded") { view = finished(place, job); return; }
    ended(job);
  }

  function head(job) {
    return h("div", { class: "page-head" }, h("h1", {}, title(job)), stateBadge(job.state), h("span", { class: "muted" }, new Date(job.created).toLocaleString()));
  }

  function waiting(job) {
    const line = h("p", { role: "status" });
    const detail = h("p", { class: "muted" });
    const bar = h("progress", { "aria-label": "Progress", max: 1 });
    const badge = h("div", {});
    let seen = { state: job.state, stage: job.stage, done: job.done, total: job.total, eta_s: job.eta_s, position: job.position };
    function say() {
      put(badge, stateBadge(seen.state));
      if (seen.state === "queued") {
        line.textContent = seen.position > 0 ? `Queued: ${seen.position} ${seen.position === 1 ? "job" : "jobs"} before this one` : "Queued: next in line";
        detail.textContent = "You may leave this page; the job goes on.";
        bar.removeAttribute("value");
        return;
      }
      line.textContent = `Running: ${STAGES[seen.stage] ?? "starting"}`;
      const eta = seen.eta_s > 0.5 ? `about ${Math.ceil(seen.eta_s)} s left in this stage` : "";
      detail.textContent = [seen.total > 1 && `step ${seen.done} of ${seen.total}`, eta].filter(Boolean).join(", ") || "\u00a0";
      if (seen.total > 0 && seen.stage === "generate") bar.value = seen.done / seen.total;
      else bar.removeAttribute("value");
    }
    const cancel = asking("Cancel", async () => {
      try {
        await post(`/v1/generations/${job.id}/cancel`);
        line.textContent = "Cancelling…";
        return true;
      } catch (problem) { return toast(problem.message); }
    });
    const away = h("div", { class: "notice warn", hidden: true, role: "status" }, "Reconnecting… The job goes on; this page follows it again as soon as the server answers.");
    put(place, h("div", { class: "page-head" }, h("h1", {}, title(job)), badge),
      h("div", { class: "panel stack", "data-state": "waiting" }, away, line, bar, detail, h("div", { class: "row" }, cancel)));
    say();
    stop = follow(job.id, (kind, data) => {
      if (kind === "away") away.hidden = false;
      else if (kind === "back") away.hidden = true;
      else { seen = { ...seen, ...data, ...(kind === "progress" ? { state: "running" } : {}) }; say(); }
    }, async () => {
      stop = null;
      if (!closed) { id = job.id; await open(); toast("The job has ended"); }
    });
  }

  function ended(job) {
    const again = button("Change the request", () => useAgain(job), { class: "main" });
    const retry = asking("Ask again", async () => {
      const from = asker(retry);
      const { generation, take, upload, ...request } = job.request;
      const isEdit = job.kind === "edit";
      try {
        return from.job(await make(isEdit ? "/v1/edits" : "/v1/generations", isEdit ? job.request : request));
      } catch (problem) { return from.problem(problem) || toast(problem.message); }
    });
    const problem = job.problem;
    put(place, head(job), h("div", { class: "panel stack" },
      job.state === "canceled"
        ? [h("h2", {}, "Cancelled"), h("p", {}, "Nothing was made, nothing was logged.")]
        : [h("h2", {}, "It failed"), problem && problemNotice(problem), problem?.matches?.length > 0 && h("p", { class: "words" }, marked(job.prompt, problem.matches))],
      h("div", { class: "row" }, again, retry, link("#/history", "History"))));
  }

  return () => { closed = true; stop?.(); view?.(); };
}

function link(href, text, kind = "") {
  return h("a", { class: `button ${kind}`, href }, text);
}

function title(job) {
  const kind = { inpaint: "Part made again: ", extend: "Extended: ", vary: "Varied: " }[job.request.kind] ?? "";
  return kind + (job.prompt || job.enriched_prompt || "the same words");
}

/** Ask for the same as a job: with one of its seeds, for one take, or as it was. */
function useAgain(job, seed = null) {
  if (job.kind === "edit") {
    location.hash = `#/result/again?${new URLSearchParams({ edit: job.id, ...(seed === null ? {} : { seed }) })}`;
    return;
  }
  reuse(seed === null ? job.request : { ...job.request, seed, variations: 1 });
  location.hash = "#/create";
}

/** What an edit of an upload has to say: what is known of the sound says it where an edit went well without. */
function needs({ request, state, problem }) {
  return {
    words: Boolean(request.prompt) || state !== "succeeded",
    rights: Boolean(request.audio_rights) || /audio_rights/.test(problem?.hint),
  };
}

/** An upload that was edited; it is not played here. */
function uploaded(place, upload, older, needed) {
  const parts = { duration: upload.duration_s, take: 0, setRegion: () => {}, onregion: () => {} };
  put(place, h("div", { class: "page-head" }, h("h1", {}, "Your sound"), h("span", { class: "muted" }, clock(upload.duration_s))),
    edits({ upload: upload.id }, parts, older, needed));
}

/** The page of a job that succeeded; returns what ends it. `older`: an edit of it to ask for again. */
function finished(place, job, older = null) {
  const side = h("div", { class: "stack" });
  const sources = h("div", { class: "stack" });
  const words = h("div", {});
  const parts = stage(job, drawTake);
  const edit = edits({ generation: job.id }, parts, older);
  put(place,
    h("div", { class: "page-head" }, h("h1", {}, title(job)), stateBadge(job.state), job.untrained && h("span", { class: "badge warn" }, "untrained model"),
      h("span", { class: "muted" }, [job.model, job.bpm && `${Math.round(job.bpm)} bpm`, job.key, `strength ${job.strength}`].filter(Boolean).join(" · "))),
    h("div", { class: "columns wide-left" }, h("div", { class: "stack" }, parts.element, edit, h("section", { class: "panel stack", "aria-label": "Sources" }, h("h2", {}, "Sources"), sources)), side));

  drawTake(parts.take);
  if (older) edit.scrollIntoView({ block: "start" });
  get(`/v1/generations/${job.id}/plan`).then(({ plan }) => put(words, plan.spans ? enriched(plan) : h("p", {}, job.enriched_prompt))).catch(() => put(words, h("p", {}, job.enriched_prompt)));

  function drawTake(take) {
    const output = job.outputs[take];
    const quality = output.quality ?? {};
    const figure = (name, value) => h("div", {}, h("span", {}, name), h("b", {}, value));
    put(side,
      h("section", { class: "panel stack", "aria-label": "This take" },
        h("h2", {}, `Take ${take + 1}`),
        h("div", { class: "figures" },
          figure("Loudness", Number.isFinite(quality.lufs) ? `${quality.lufs.toFixed(1)} LUFS` : "–"),
          figure("True peak", Number.isFinite(quality.true_peak_dbtp) ? `${quality.true_peak_dbtp.toFixed(1)} dBTP` : "–"),
          figure("Length", clock(output.duration_s)), figure("Seed", output.seed),
          figure("Output", `no. ${output.output}`)),
        (quality.silence > 0.5 || quality.clipping > 0.001) && h("div", { class: "notice warn" }, quality.silence > 0.5 ? "Much of this take is silent." : "This take clips."),
        output.unmet?.length > 0 && h("div", { class: "notice warn" }, output.unmet.map((one) => h("p", {}, unmet(one)))),
        button("Use this request again", () => useAgain(job, output.seed))),
      h("section", { class: "panel stack", "aria-label": "Downloads" }, h("h2", {}, "Downloads"), downloads(job, take)),
      h("section", { class: "panel stack", "aria-label": "Enriched prompt" }, h("h2", {}, "The words it was given"), words,
        job.notes?.map((note) => h("p", { class: "muted" }, told(note)))),
      h("section", { class: "panel stack", "aria-label": "Lineage" }, h("h2", {}, "Lineage"), lineage(job)));
    drawSources(take);
  }

  async function drawSources(take = 0) {
    let list = job.references ?? [];
    if (app.may("generate")) {
      try {
        const { record } = await get(`/v1/generations/${job.id}/record?take=${take + 1}`);
        parts.lanes(take, record);
        list = record.sources.map((one) => ({ ...one.reference.stem, stem: one.reference.stem.id, used: one.used, causal: one.causal, similar: one.similar, holder: one.license.holder, license: one.license.id, also: one.also?.map(({ license }) => ({ holder: license.holder, license: license.id })) }));
      } catch { /* the job itself has them as well */ }
    }
    const stems = await Promise.all(list.map((one) => get(`/v1/stems/${one.stem}`).catch(() => null)));
    const revoked = stems.filter((one) => one?.revoked);
    put(sources,
      revoked.length > 0 && h("div", { class: "notice bad" },
        h("p", {}, `The license of ${revoked.map((one) => one.title || one.path).join(", ")} was revoked after this was made.`),
        h("p", { class: "muted" }, "Do not publish it before you have spoken to the holder; make it again without this source.")),
      list.length === 0
        ? h("p", { class: "muted" }, "No source: the model and your words alone.")
        : table("Sources and their influence", ["Source", "Holder", "License", "Words", "Sound", "Likeness", "Listen"], [
          list.map((one, i) => h("tr", {},
            h("td", {}, h("b", {}, one.title || one.path || one.stem.slice(0, 12)), h("div", { class: "muted" }, one.artist)),
            h("td", {}, everyOne(one, "holder")), h("td", {}, stems[i] ? licenseBadge(stems[i]) : everyOne(one, "license")),
            h("td", {}, percent(one.used?.prompt)), h("td", {}, percent(one.used?.init)),
            h("td", {}, one.similar === null ? "–" : one.similar.toFixed(2)),
            h("td", {}, stems[i] ? listenButton(stems[i]) : h("span", { class: "muted" }, "–")))),
          h("tr", {}, h("td", { colspan: 3 }, "The model and your words"), h("td", {}, percent(job.model_share?.prompt)), h("td", {}, percent(job.model_share?.init)), h("td", { colspan: 2 })),
        ]));
  }

  return () => { hush(); parts.close(); };
}
