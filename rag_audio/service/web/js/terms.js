// What the service says in terms of its API, in terms of this page: fields are the labels of controls,
// routes the places where one does that. In messages both stand between backticks: `bpm: 92`.

export const LABELS = {
  prompt: "Prompt", negative_prompt: "Not", artist: "In the style of", key: "Key", seed: "Seed",
  bpm: "Tempo", duration_s: "Duration", strength: "Strength", variations: "Takes",
  steps: "Steps", guidance: "Guidance", k: "References to find", channels: "References give",
  candidates: "Candidates a take", bars: "Bars", time_signature: "Time signature", format: "File format",
  territory: "Territory", enforce: "Measure and put right", instrumentation: "Instruments", mood: "Mood",
  midi_instruments: "Instruments that play MIDI", exclude: "Never these stems",
  references: "References", weights: "Weight", audio_rights: "Rights", audio_as: "Used for",
};

/** What has no control: in plain words. */
const WORDS = {
  audio: "your sound", midi: "your MIDI", auto_strength: "the automatic strength", mix: "the mix", free_time: "free time", libraries: "the libraries", licenses: "the licenses", layers: "the layers",
  arrange: "the arrangement", regions: "the part to make again", left_s: "the length before", right_s: "the length after",
  like: "a stem to be near", limit: "how many to find", min_duration_s: "the shortest length", tags: "tags", stem: "stem",
  license: "license", text: "the words of the search", kind: "the kind", upload: "the upload", generation: "the generation", take: "the take",
};

export const ROUTES = {
  "POST /v1/search": "the search under References", "GET /v1/stems": "the Library tab", "GET /v1/libraries": "the Library tab",
  "GET /v1/artists": "the Library tab", "GET /v1/outputs": "the History tab", "POST /v1/trace": "the Trace tab",
  "POST /v1/indexing": "indexing", "POST /v1/generations": "a generation", "POST /v1/edits": "Change this take",
};

const VALUES = {
  audio_rights: { own: "it is mine", licensed: "it is licensed to me" },
  audio_as: { melody: "its melody", search: "finding references like it" },
  channels: { "prompt,init": "words and sound", prompt: "words alone", init: "sound alone" },
};

/** What one can state of a file that one brings, and of two. */
export const RIGHTS = [["", "say whose it is…"], ...Object.entries(VALUES.audio_rights)];
export const RIGHTS_TO_BOTH = [["", "say whose they are…"], ["own", "both are mine"], ["licensed", "both are licensed to me"]];

/** A message of the service as this page says it. */
export function told(text) {
  return String(text ?? "").replace(/`([^`]+)`/g, (_, said) => {
    if (ROUTES[said]) return ROUTES[said];
    const [, name, value] = /^(\w+)(?:: (.*))?$/.exec(said) ?? [];
    const label = LABELS[name];
    if (!label) return value === undefined ? WORDS[name] ?? said : `${WORDS[name] ?? name} ${value}`;
    return value === undefined ? `“${label}”` : `“${label}: ${VALUES[name]?.[value] ?? value}”`;
  });
}

/** A fault of one field, by the label of its control: "Mood, entry 2: must have at most …". */
export function fault({ field, message }) {
  const [, name, index, rest] = /^([a-z_]+)(?:\[(\d+)\])?(.*)$/s.exec(message) ?? [];
  if (!field || name !== field) return told(message);
  const label = LABELS[name] ?? WORDS[name] ?? name;
  return index === undefined ? `${label}${rest}` : `${label}, entry ${Number(index) + 1}:${rest.replace(/^\./, " ")}`;
}
