"""Makes the archives of a golden home with the code as it stands; kept to say how they were made.

    PYTHONPATH=CHECKOUT python tests/golden/make_home.py CHECKOUT TARGET WORK

``CHECKOUT`` is a working tree of the version whose home is kept, ``WORK`` a folder to make it in.
All names are invented. What the home holds is listed in ``README.md``, and ``facts.json`` says what
the version told about it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

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
    "c-loud.mid": "kestrel-ninefold/cold-chain-drums.mid",
    "d-lout.mid": "kestrel-ninefold/cold-chain-bells.mid",
    "e-signs.mid": "brannoch-vey/millers-waltz-guitar.mid",
    "f-money.mid": "velda-quarn/sodium-light-lead.mid",
    "g-mox.mid": "low-lantern-five/praca-nenhuma-flute.mid",
    "h-slash.mid": "harbour-steps-sound/salt-market-horns.mid",
    "i-street.mid": "tessan-oryk/tidewater-pad.mid",
    "copies/j-twin.mid": "velda-quarn/last-tram-bass.mid",
}
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


class Home:
    """A home that commands are run on, one process each, as a user would."""

    def __init__(self, root: Path) -> None:
        self.root, self.home = root, root / "home"

    def run(self, *words: str, code: int = 0) -> dict[str, Any]:
        """The JSON document of a command."""
        command = [sys.executable, "-c", "from rag_audio.cli import main; raise SystemExit(main())"]
        done = subprocess.run(
            [*command, *words, "--home", str(self.home), "--json"],
            capture_output=True,
            text=True,
            cwd=self.root,
        )
        if done.returncode != code:
            raise SystemExit(f"{words}: {done.stdout} {done.stderr}")
        return json.loads(done.stdout) if done.stdout.strip() else {}


def write_libraries(root: Path, demo: Path) -> None:
    for name, toml, csv in (("golden", LIBRARY, STEMS), ("second", SECOND, SECOND_STEMS)):
        (root / name / "copies").mkdir(parents=True)
        (root / name / "library.toml").write_text(toml.lstrip(), encoding="utf-8")
        (root / name / "stems.csv").write_text(csv.lstrip(), encoding="utf-8")
    for target, source in FILES.items():
        shutil.copy(demo / source, root / "golden" / target)
    shutil.copy(demo / "tessan-oryk/slow-snow-piano.mid", root / "second" / "slow-snow.mid")


def serve_one(home: Home) -> dict[str, Any]:
    """A generation over HTTP by a key that is bound to one library."""
    from fastapi.testclient import TestClient

    from rag_audio.api.app import make_app
    from rag_audio.api.service import Service
    from rag_audio.service.settings import ServeSettings
    from rag_audio.workspace import open_workspace

    key = home.run("keys", "api-make", "Golden desk", "--library", "golden")
    other = home.run("keys", "api-make", "Second desk", "--library", "second")
    service = Service(open_workspace(home.home), ServeSettings(), ("testserver",), 1)
    with TestClient(make_app(service)) as client:
        made = []
        for who, prompt in ((key, "warm electric piano at night"), (other, "slow snow piano")):
            answer = client.post(
                "/v1/generations",
                json={"prompt": prompt, "duration_s": 1.0, "steps": 2, "seed": 5},
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
    common = ("--steps", "4", "--seed", "7")
    zoe = ("generate", "warm electric piano", "--artist", "Zoë Ñandú", "--duration", "6")
    facts["mp3"] = home.run(*zoe, *common, "--influence", "fast", "--out", "zoe.mp3")
    lout = ("generate", "bells", "--artist", "ラウト", "--duration", "6")
    facts["ogg"] = home.run(*lout, *common, "--out", "lout.ogg")
    lossy = ("--duration", "1")
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
    facts["report"] = home.run("report", "--from", today, "--to", today, "--format", "json")
    facts["outputs"] = {name: home.run("outputs", "--artist", name) for name in
                        ("Zoë Ñandú", "ラウト", "!!!", "Ka/Vo")}  # fmt: skip
    keep = {int(facts["wav"]["output"])}
    for master in (home.home / "masters").iterdir():
        if int(master.stem) not in keep:
            master.unlink()
    facts["backup"] = home.run("backup", str(root / "backup.tar"))
    target.mkdir(parents=True, exist_ok=True)
    delivered = root / "delivered"
    delivered.mkdir()
    for name in ("zoe.mp3", "lout.ogg", "lout.ogg.c2pa", "slash.wav", "signs.flac", "none.mp3",
                 "plan.json", "root.pem", "ledger.jsonl", "published"):  # fmt: skip
        if (root / name).exists():
            shutil.move(root / name, delivered / name)
    for folder in ("golden", "second"):
        shutil.move(root / folder, delivered / folder)
    pack(delivered, target / "delivered.tar.xz")
    subprocess.run(["xz", "-9e", "-k", "-c", "backup.tar"], check=True,
                   stdout=(target / "backup.tar.xz").open("wb"))  # fmt: skip
    text = json.dumps(facts, ensure_ascii=False, indent=1, sort_keys=True)
    (target / "facts.json").write_text(text + "\n", encoding="utf-8")


def facts_stem(home: Home, artist: str) -> str:
    """The id of an artist's only stem."""
    found = home.run("search", "--artist", artist, "--limit", "1")
    return str(found["references"][0]["stem"])


if __name__ == "__main__":
    main()
