"""Makes the archives of a golden home with the code as it stands; kept to say how they were made.

    PYTHONPATH=CHECKOUT:. python tests/golden/make_home.py CHECKOUT TARGET WORK

``CHECKOUT`` is a working tree of the version whose home is kept, ``WORK`` a folder to make it in.
All names are invented. What the home holds is listed in ``README.md``, ``facts.json`` says what the
version told about it, and ``documents.json.xz`` holds the documents that it wrote.
``v17e3f1b`` was made by this script before it had :func:`make_more` and :func:`documents`.
"""

from __future__ import annotations

import io
import json
import lzma
import os
import shutil
import subprocess
import sys
import tarfile
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from rag_audio.cli.app import run as command

LIBRARY = """
[library]
name = "Golden"
[licenses.full]
holder = "Golden Holder"
spdx = "LicenseRef-Golden-1"
uses = ["prompt", "init_audio", "style"]
credit = "Contains Golden Holder material"
[licenses.full.splits]
master = {"Golden Holder" = 0.5, "Second Label" = 0.5}
[licenses.words]
holder = "Words Holder"
spdx = "LicenseRef-Golden-2"
uses = ["prompt"]
[licenses.abroad]
holder = "Abroad Holder"
spdx = "LicenseRef-Golden-3"
uses = ["prompt", "init_audio", "style"]
territories = ["WORLD", "-US"]
"""
STEMS = """
path,license,artist,title,bpm,key,tags,isrc
a-zoe.mid,full,Zoë Ñandú,Last Tram,122,A minor,electric piano;warm,
b-quarn.mid,full,Velda Quarn,Bass Line,122,A minor,bass;deep house,
c-loud.mid,words,ラウド,Loud,,,drums,
d-lout.mid,full,ラウト,Lout,,,bells,
e-signs.mid,full,!!!,Signs,,,guitar,
f-money.mid,words,$$$,Money,,,organ,
g-mox.mid,words,M.O.X.,Dots,,,flute,
h-slash.mid,full,Ka/Vo,Slash,,,horns,
i-street.mid,abroad,Straße Nord,Street,,,pad,
copies/j-twin.mid,words,Velda Quarn,Bass Line,,,bass,
"""
FILES = {
    "a-zoe.mid": "velda-quarn/last-tram-keys.mid",
    "b-quarn.mid": "velda-quarn/last-tram-bass.mid",
    "c-loud.mid": "kestrel-ninefold/ninth-gate-bass.mid",
    "d-lout.mid": "kestrel-ninefold/cold-chain-bells.mid",
    "e-signs.mid": "brannoch-vey/millers-waltz-guitar.mid",
    "f-money.mid": "velda-quarn/sodium-light-lead.mid",
    "g-mox.mid": "low-lantern-five/praca-nenhuma-flute.mid",
    "h-slash.mid": "harbour-steps-sound/salt-market-horns.mid",
    "i-street.mid": "tessan-oryk/tidewater-pad.mid",
    "copies/j-twin.mid": "velda-quarn/last-tram-bass.mid",
}
NO_WORDS: dict[str, Any] = {
    "prompt": "",
    "enriched_prompt": "",
    "spans": [],
    "negative_prompt": "",
    "notes": [],
}
"""Credentials quote no words, which may have been erased from a record."""
SECOND = """
[library]
name = "Second"
[licenses.second]
holder = "Second Holder"
spdx = "LicenseRef-Second-1"
uses = ["prompt", "init_audio", "style"]
"""
SECOND_STEMS = """
path,license,artist,title,bpm,key,tags,isrc
*.mid,second,Oskar Tindelby,Slow Snow,,,piano,
"""

THIRD = """
[library]
name = "Third"
[licenses.everything]
holder = "Third Holder"
ipi = "00000000199"
spdx = "LicenseRef-Third-1"
uses = ["prompt", "init_audio", "style", "train"]
territories = ["WORLD", "-US", "-KP"]
valid_from = 2020-01-01
valid_until = 2099-12-31T18:00:00-05:00
timezone = "Europe/Berlin"
credit = "Contains Third Holder material © „Größe“"
max_similarity = 0.95
[licenses.everything.splits]
master = {"Third Holder" = 0.5, "Other Label" = 0.5}
composition = {"A Writer" = {share = 0.75, ipi = "I-000000229-7"}, "A Publisher" = 0.25}
[licenses.tight]
holder = "Tight Holder"
spdx = "LicenseRef-Third-2"
uses = ["prompt", "init_audio"]
"""
THIRD_STEMS = """
path,license,artist,title,bpm,key,tags,isrc,iswc,downbeat_s
waltz.mid,everything,Ida Wrenfold,Waltz,,,acoustic guitar;folk,QZABC2600001,T-034.524.680-1,0.25
drums.mid,tight,Ida Wrenfold,Drums,104,,drums;funk,,,
horns.mid,everything,Ida Wrenfold,Horns,104,E major,brass section,,,
"""
THIRD_FILES = {
    "waltz.mid": "brannoch-vey/millers-waltz-fiddle.mid",
    "drums.mid": "mirko-adelune/attic-rain-drums.mid",
    "horns.mid": "copperhill-junction-players/brass-ticket-horns.mid",
}


class Home:
    """A home that commands are run on."""

    def __init__(self, root: Path) -> None:
        self.root, self.home = root, root / "home"

    def run(self, *words: str, code: int = 0) -> dict[str, Any]:
        """The JSON document of a command."""
        said, errors = io.StringIO(), io.StringIO()
        with redirect_stdout(said), redirect_stderr(errors):
            ended = command([*words, "--home", str(self.home), "--json"])
        if ended != code:
            raise SystemExit(f"{words}: {said.getvalue()} {errors.getvalue()}")
        document: dict[str, Any] = json.loads(said.getvalue()) if said.getvalue().strip() else {}
        return document


def write_libraries(root: Path, demo: Path) -> None:
    for name, toml, csv in (
        ("golden", LIBRARY, STEMS),
        ("second", SECOND, SECOND_STEMS),
        ("third", THIRD, THIRD_STEMS),
    ):
        (root / name / "copies").mkdir(parents=True)
        (root / name / "library.toml").write_text(toml.lstrip(), encoding="utf-8")
        (root / name / "stems.csv").write_text(csv.lstrip(), encoding="utf-8")
    for target, source in FILES.items():
        shutil.copy(demo / source, root / "golden" / target)
    shutil.copy(demo / "tessan-oryk/slow-snow-piano.mid", root / "second" / "slow-snow.mid")
    for target, source in THIRD_FILES.items():
        shutil.copy(demo / source, root / "third" / target)


def make_more(home: Home, root: Path) -> dict[str, Any]:
    """Outputs whose records and plans hold what those of :func:`main` leave out."""
    from rag_audio.audio import writing
    from tests.support.hums import tune

    writing.save(tune(0, 2.0).audio, root / "hum.wav")
    found = home.run("search", "--artist", "Ida Wrenfold", "--territory", "DE", "--limit", "9")
    stems = {one["title"]: one["stem"] for one in found["references"]}
    waltz, drums, horns = stems["Waltz"], stems["Drums"], stems["Horns"]
    common = ("--steps", "2", "--seed", "11", "--territory", "DE")
    made = ("--duration", "1", *common)
    none = ("--references", "0")
    jobs: dict[str, tuple[str, ...]] = {
        "controls": ("generate", "folk guitar", "--reference", f"{waltz}@1-6", "--reference", horns,
                     *none, "--weights", "2,1", "--exclude", drums, "--bars", "1", "--bpm", "150",
                     "--key", "A minor", "--time-signature", "3/4", "--mood", "calm,dusty",
                     "--instrumentation", "acoustic guitar", "--negative", "noise",
                     "--strength", "auto", *common),
        "layers": ("generate", "funk", "--layer", f"drums={drums}", "--layer", f"harmony={horns}",
                   *none, "--mix", "latent", "--midi-instruments", "Vibraphone", *made),
        "arranged": ("generate", "funk horns", "--arrange", f"{horns}:1-1,{waltz}:2-2", *none,
                     "--bpm", "240", "--duration", "2", *common),
        "enforced": ("generate", "funk", "--reference", horns, *none, "--enforce", "tempo,key",
                     "--candidates", "2", "--best-effort", "--bpm", "104", "--key", "E major",
                     "--duration", "3", *common),
        "hummed": ("generate", "vibraphone", "--audio", "hum.wav", "--audio-as", "melody",
                   "--audio-rights", "own", *none, "--duration", "2", *common),
        "alike": ("generate", "guitar", "--midi", str(root / "third/waltz.mid"), "--references",
                  "2", "--channels", "prompt", *made),
        "exact": ("generate", "horns", "--reference", horns, "--reference", waltz, *none,
                  "--influence", "exact", *made),
        "takes": ("generate", "guitar", "--reference", waltz, *none, "--variations", "2", *made),
    }  # fmt: skip
    made_of: dict[str, Any] = {}
    for name, words in jobs.items():
        made_of[name] = home.run(*words, "--save-plan", f"{name}.json", "--out", f"{name}.mp3")
    made_of["opus"] = home.run("generate", "pad", *none, *made, "--subtype", "opus",
                               "--out", "opus.ogg")  # fmt: skip
    own = ("--audio-rights", "own", "--bpm", "120")
    edits: dict[str, tuple[str, ...]] = {
        "inpainted": ("inpaint", "layers.mp3", "brass", "--region", "0.2-0.4", "--region",
                      "0.6-0.8", "--reference", horns),
        "extended": ("extend", "layers.mp3", "brass", "--by", "0.5", "--strength", "0.6"),
        "own": ("vary", "hum.wav", "calm", "--strength", "0.6", *own),
        "again": ("vary", "inpainted.mp3", "calm", "--strength", "0.4"),
    }  # fmt: skip
    for name, words in edits.items():
        made_of[name] = home.run(*words, *common, "--out", f"{name}.mp3")
    return made_of


def documents(home: Path, root: Path) -> dict[str, Any]:
    """The documents that the version wrote, each as the text of its bytes."""
    from rag_audio.domain.codec import encode
    from rag_audio.domain.credits import credit_lines
    from rag_audio.domain.plan import plan_from_json
    from rag_audio.domain.signing import ClaimedOutput
    from rag_audio.pipeline.delivery import _model_of
    from rag_audio.pipeline.workspace import open_workspace
    from rag_audio.provenance.credentials.manifest import make_manifest
    from rag_audio.provenance.ledger.ledger import SqlLedger
    from rag_audio.provenance.ledger.merkle import frontier_of, leaf_hash
    from rag_audio.provenance.ledger.records import canonical

    with open_workspace(home) as workspace:
        ledger = workspace.home.ledger
        assert isinstance(ledger, SqlLedger)
        leaves = [document.decode() for document in ledger.documents()]
        size = len(leaves)
        manifests = {}
        for entry in ledger.outputs():
            record = entry.record
            plan = plan_from_json({**record.plan, **NO_WORDS})
            claim = ClaimedOutput(
                record.output, plan, _model_of(record, 44100, 2), record.watermark.get("name"),
                plan.duration_s, credit_lines(plan.licenses),
            )  # fmt: skip
            manifests[str(record.output)] = canonical(
                make_manifest(claim, "audio/wav", "notAllowed")
            ).decode()
        found = {
            "leaves": leaves,
            "leaf_hashes": [leaf_hash(one.encode()).hex() for one in leaves],
            "roots": [ledger.root(count) for count in range(1, size + 1)],
            "frontier": frontier_of(leaf_hash(one.encode()) for one in leaves).pack().hex(),
            "inclusion": [list(ledger.inclusion(seq).path) for seq in range(1, size + 1)],
            "consistency": [list(ledger.consistency(old)) for old in range(1, size + 1)],
            "checkpoint": ledger.checkpoint(),
            "key": ledger.verifier_key(),
            "plans": {
                path.stem: path.read_text(encoding="utf-8") for path in sorted(root.glob("*.json"))
            },
            "manifests": manifests,
            "stems": [
                canonical(encode(stem)).decode() for stem in workspace.home.catalogue.stems()
            ],
            "credentials": {
                name: credentials_json(workspace.home.credentials_of(root / name))
                for name in ("zoe.mp3", "slash.wav", "signs.flac", "lout.ogg", "again.mp3")
            },
        }
    return found


def credentials_json(found: Any) -> dict[str, Any]:
    """What is read of the credentials in a file."""
    names = ("state", "output", "sources", "label", "signer", "sidecar", "attribution", "training",
             "actions", "source_type")  # fmt: skip
    said = {name: getattr(found, name) for name in names}
    told: dict[str, Any] = json.loads(json.dumps(said, default=dict))
    return told


def serve_one(home: Home) -> dict[str, Any]:
    """A generation over HTTP by a key that is bound to one library."""
    from fastapi.testclient import TestClient

    from rag_audio.pipeline.workspace import open_workspace
    from rag_audio.service.api.app import make_app
    from rag_audio.service.api.services import Service
    from rag_audio.service.settings import ServeSettings

    key = home.run("keys", "api-make", "Golden desk", "--library", "golden")
    other = home.run("keys", "api-make", "Second desk", "--library", "second")
    service = Service(open_workspace(home.home), ServeSettings(), ("testserver",), 1)
    with TestClient(make_app(service)) as client:
        made = []
        for who, prompt in ((key, "warm electric piano at night"), (other, "slow snow piano")):
            answer = client.post(
                "/v1/generations",
                json={
                    "prompt": prompt,
                    "duration_s": 0.5,
                    "steps": 2,
                    "seed": 5,
                    "format": "mp3",
                },
                headers={"Authorization": f"Bearer {who['key']}", "Prefer": "wait=60"},
            )
            made.append(answer.json())
    return {"keys": [key, other], "jobs": made}


def pack(folder: Path, target: Path) -> None:
    with tarfile.open(target, "w:xz", preset=9) as archive:
        archive.add(folder, folder.name)


def main() -> None:
    checkout, target = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
    root = Path(sys.argv[3]).resolve()
    root.mkdir()
    os.chdir(root)
    home = Home(root)
    write_libraries(root, checkout / "data/demo")
    facts: dict[str, Any] = {"index": home.run("index", "golden")}
    facts["index_second"] = home.run("index", "second")
    facts["index_third"] = home.run("index", "third")
    common = ("--steps", "4", "--seed", "7")
    zoe = ("generate", "warm electric piano", "--artist", "Zoë Ñandú", "--duration", "6")
    facts["mp3"] = home.run(*zoe, *common, "--influence", "fast", "--out", "zoe.mp3")
    lout = ("generate", "bells", "--artist", "ラウト", "--duration", "2")
    facts["ogg"] = home.run(*lout, *common, "--out", "lout.ogg")
    lossy = ("--duration", "0.5")
    short = (*lossy, "--subtype", "16")
    slash = ("generate", "horns", "--reference", facts_stem(home, "Ka/Vo"), "--references", "0")
    facts["wav"] = home.run(*slash, *common, *short, "--out", "slash.wav")
    signs = ("generate", "guitar", "--artist", "!!!")
    facts["flac"] = home.run(*signs, *common, *short, "--save-plan", "plan.json",
                             "--out", "signs.flac")  # fmt: skip
    facts["none"] = home.run("generate", "a quiet sound of nothing at all", "--references", "0",
                             *common, *lossy, "--out", "none.mp3")  # fmt: skip
    twin = facts_stem(home, "Velda Quarn")
    facts["twin"] = home.run("generate", "bass", "--reference", twin, "--references", "0",
                             *common, *lossy, "--out", "twin.mp3")  # fmt: skip
    facts["variation"] = home.run("vary", "slash.wav", "--strength", "0.5", *common,
                                  "--out", "varied.mp3")  # fmt: skip
    facts["more"] = {name: one["output"] for name, one in make_more(home, root).items()}
    facts["served"] = serve_one(home)
    facts["checkpoint"] = home.run("ledger", "checkpoint", "--publish", str(root / "published"))
    home.run("revoke", "--artist", "ラウト", "--reason", "contract ended", "--by", "desk")
    home.run("revoke", "--artist", "Zoë Ñandú")
    home.run("revoke", "--artist", "Zoë Ñandú", "--undo")
    home.run("revoke", "--artist", "Straße Nord")
    home.run("ledger", "erase", "--output", str(facts["none"]["output"]))
    home.run("keys", "export-root", "root.pem")
    facts["export"] = home.run("ledger", "export", str(root / "ledger.jsonl"))
    facts["proof"] = home.run("ledger", "proof", str(facts["mp3"]["output"]))
    facts["verify"] = home.run("ledger", "verify")
    facts["trace"] = {name: home.run("trace", name) for name in
                      ("zoe.mp3", "lout.ogg", "slash.wav", "signs.flac", "none.mp3")}  # fmt: skip
    today = time.strftime("%Y-%m-%d", time.gmtime())
    facts["outputs"] = {name: home.run("outputs", "--artist", name) for name in
                        ("Zoë Ñandú", "ラウト", "!!!", "Ka/Vo")}  # fmt: skip
    facts["day"] = today
    home.run("report", "--from", today, "--to", today, "--format", "csv", "--out", "report.csv")
    written = json.dumps(documents(home.home, root), ensure_ascii=False, sort_keys=True)
    for master in (home.home / "masters").iterdir():
        master.unlink()
    facts["backup"] = home.run("backup", str(root / "backup.tar"))
    target.mkdir(parents=True, exist_ok=True)
    delivered = root / "delivered"
    delivered.mkdir()
    for name in ("zoe.mp3", "lout.ogg", "lout.ogg.c2pa", "slash.wav", "signs.flac", "none.mp3",
                 "again.mp3", "opus.ogg", "opus.ogg.c2pa", "plan.json", "controls.json",
                 "root.pem", "ledger.jsonl", "published", "report.csv"):  # fmt: skip
        if (root / name).exists():
            shutil.move(root / name, delivered / name)
    for folder in ("golden", "second", "third"):
        shutil.move(root / folder, delivered / folder)
    pack(delivered, target / "delivered.tar.xz")
    subprocess.run(["xz", "-9e", "-k", "-c", "backup.tar"], check=True,
                   stdout=(target / "backup.tar.xz").open("wb"))  # fmt: skip
    (target / "documents.json.xz").write_bytes(lzma.compress(written.encode(), preset=9))
    text = json.dumps(facts, ensure_ascii=False, indent=1, sort_keys=True)
    (target / "facts.json").write_text(text + "\n", encoding="utf-8")


def facts_stem(home: Home, artist: str) -> str:
    """The id of an artist's only stem."""
    found = home.run("search", "--artist", artist, "--limit", "1")
    return str(found["references"][0]["stem"])


if __name__ == "__main__":
    main()
