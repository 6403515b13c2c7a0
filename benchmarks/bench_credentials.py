"""What content credentials cost: time to sign and to read, and bytes added.

``python -m benchmarks.bench_credentials`` signs 30 s of 44.1 kHz stereo noise in each format with
two references and prints medians. Beside them stands the obvious alternative, the C2PA library as
it comes: it verifies after signing by itself, and the file is then read once more for the label
that the ledger records. The last column is the SHA-256 of the same file, the least that any binding
to its bytes must cost.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from c2pa import Builder, C2paSignerInfo, C2paSigningAlg, Context, Reader, Settings, Signer

from rag_audio.audio import writing
from rag_audio.provenance.credentials.manifest import MEDIA_TYPES, NOT_ALLOWED, make_manifest
from rag_audio.provenance.credentials.reading import read_credentials
from rag_audio.provenance.credentials.signers import C2paSigner, open_signer
from rag_audio.storage.files import file_sha256
from tests.provenance.material import claim, sound

SECONDS, TURNS = 30.0, 9


def _as_it_comes(file: Path, signer: C2paSigner) -> None:
    """Sign with the library's defaults, then open the result to learn the manifest's label."""
    kind = MEDIA_TYPES[file.suffix]
    settings = {"verify": {"verify_trust": True}, "trust": {"user_anchors": signer.anchors}}
    context = Context(settings=Settings.from_dict(settings))
    builder = Builder(make_manifest(claim(), kind, NOT_ALLOWED), context=context)
    chain, key = signer.identity.chain_pem.encode(), signer.identity.key_pem.encode()
    native = Signer.from_info(C2paSignerInfo(C2paSigningAlg.ES256, chain, key, None))
    target = file.with_suffix(f".signed{file.suffix}")
    with file.open("rb") as source, target.open("w+b") as out:
        builder.sign(native, kind, source, out)
    with Reader(str(target), context=context) as reader:
        reader.get_active_manifest()


def _timed(work: Callable[[], object], before: Callable[[], object]) -> float:
    took = []
    for _ in range(TURNS):
        before()
        start = time.perf_counter()
        work()
        took.append(time.perf_counter() - start)
    return 1000 * statistics.median(took)


def main() -> None:
    """Print the table."""
    noise = sound(SECONDS)
    print("| file | MB | added bytes | sign ms | as it comes ms | ratio | read ms | sha256 ms |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        signer = open_signer(Path(folder) / "keys")
        for suffix in (".wav", ".flac", ".mp3", ".ogg"):
            file = Path(folder) / f"take{suffix}"
            writing.save(noise, file)
            plain = file.read_bytes()

            def restore(file: Path = file, plain: bytes = plain) -> None:
                file.write_bytes(plain)

            def digest(file: Path = file) -> str:
                return file_sha256(file)

            usual = "–"
            ratio = "–"
            sign = _timed(lambda file=file: signer.sign(file, claim()), restore)
            if suffix != ".ogg":  # the library does not embed into it
                default = _timed(lambda file=file: _as_it_comes(file, signer), restore)
                usual, ratio = f"{default:.1f}", f"{sign / default:.2f}"
            restore()
            sidecar = signer.sign(file, claim()).sidecar
            added = file.stat().st_size - len(plain)
            added += sidecar.stat().st_size if sidecar else 0
            read = _timed(lambda file=file: read_credentials(file, signer.anchors), lambda: None)
            hashed = _timed(digest, lambda: None)
            megabytes = len(plain) / 1e6
            print(
                f"| {suffix[1:]} | {megabytes:.2f} | {added} | {sign:.1f} | {usual} | {ratio} "
                f"| {read:.1f} | {hashed:.1f} |"
            )


if __name__ == "__main__":
    main()
