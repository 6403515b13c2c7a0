// Downloads of a take: the sound, the plan, the record, or all of them.

import { call } from "./api.js";
import { button, h, toast } from "./dom.js";
import { save, zip } from "./files.js";

export function downloads(job, take) {
  const output = job.outputs[take];
  const name = `rag-audio-${output.output}`;
  const format = job.request.format ?? "wav";
  const as = (kind) => (kind === format ? output.content : `${output.content}&format=${kind}`);
  const files = [
    ["WAV", as("wav"), `${name}.wav`], ["MP3", as("mp3"), `${name}.mp3`],
    ["Plan", job.links.plan, `${name}.plan.json`], ["Record", output.record, `${name}.record.json`],
  ];
  const all = button("All as ZIP", async () => {
    all.disabled = true;
    try {
      const parts = await Promise.all(files.map(async ([, href, file]) => ({
        name: file, bytes: new Uint8Array(await (await call(href, { raw: true })).arrayBuffer()),
      })));
      save(zip(parts), `${name}.zip`);
    } catch (problem) { toast(problem.message); }
    all.disabled = false;
  });
  return h("div", { class: "choices" }, files.map(([text, href, file]) => h("a", { class: "button", href, download: file }, text)), all);
}
