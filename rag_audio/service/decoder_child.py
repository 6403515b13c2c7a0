"""The process that opens uploads: a JSON object per line in, one out.

It has the decoders loaded, and forks for every file: the child limits its memory, time and files
before it opens the file, and whatever a decoder does there ends the child alone. The reader of
content credentials is one of these decoders: it parses what strangers wrote, as they do. What the
service needs of a file, the child writes in a form of our own: the sound as bare samples, as
:func:`rag_audio.audio.reading.hear` would have them, and a document with everything else.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import sys
import time
from base64 import b64decode, b64encode
from contextlib import suppress
from pathlib import Path
from typing import Any

_MOST_SAID = 4096
_LABEL = 200
MOST_DOCUMENT = 32 << 20
"""Bytes of a document."""
TOO_LONG = "decoding it takes longer than {seconds:g} s"
TOO_MUCH = "decoding it takes more than {megabytes} MiB of memory"
CRASHED = "its decoder crashed on it: it is damaged"
SIMPLER = "export it anew, as WAV or FLAC in stereo at 48 kHz"


def main() -> None:
    """Open one file after the other, until the other side hangs up."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Imported before any limit.
    import c2pa  # noqa: F401

    from rag_audio.audio import ffmpeg

    ffmpeg.described()  # what it says of itself is asked for once, not for every file
    for line in sys.stdin:
        sys.stdout.write(json.dumps(_in_child(json.loads(line))) + "\n")
        sys.stdout.flush()


def _in_child(asked: dict[str, Any]) -> dict[str, Any]:
    """What the child says of a file, or how it died."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            os.setpgid(0, 0)
            if asked["kind"] == "sign":
                told = _signed(asked)
            else:
                _let_go()
                told = _opened(asked)
            os.write(writing, json.dumps(told).encode()[:_MOST_SAID])
        finally:
            os._exit(0)
    os.close(writing)
    try:
        said = _read(reading, float(asked["seconds"]))
    finally:
        os.close(reading)
        # With what it started.
        for end in (os.killpg, os.kill):
            with suppress(ProcessLookupError, PermissionError):
                end(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    ended = os.waitstatus_to_exitcode(status)
    if said is None or (not said and ended == -signal.SIGXCPU):
        return _refused(TOO_LONG.format(**asked))
    if not said:
        # Who is killed though in time was killed by the system, for want of memory.
        return _refused(TOO_MUCH.format(**asked) if ended == -signal.SIGKILL else CRASHED)
    found: dict[str, Any] = json.loads(said)
    return found


def _let_go() -> None:
    """Close the pipes to the service: only the process that forked speaks there."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for pipe in (0, 1):
        os.dup2(nothing, pipe)


def _refused(why: str, hint: str = SIMPLER) -> dict[str, Any]:
    return {"refused": why, "hint": hint}


def _read(source: int, seconds: float) -> bytes | None:
    """All that comes until the other end closes; None: it took too long."""
    until = time.monotonic() + seconds
    pieces: list[bytes] = []
    while True:
        left = until - time.monotonic()
        if left <= 0 or not select.select([source], [], [], left)[0]:
            return None
        piece = os.read(source, _MOST_SAID)
        if not piece:
            return b"".join(pieces)
        pieces.append(piece)


def _opened(asked: dict[str, Any]) -> dict[str, Any]:
    """Open a file within the limits; what is said of it to the service."""
    from rag_audio.audio.media_kinds import media_kind
    from rag_audio.errors import RagAudioError

    _limit(asked)
    file, is_score = Path(asked["file"]), asked["kind"] == "midi"
    try:
        # Of what ffmpeg decodes, in a process of its own with limits of its own, nothing but
        # samples is parsed before. Every other decoder works in this process.
        if is_score or media_kind(file) is None:
            _forbid_processes()
        found = _midi(file, asked) if is_score else _audio(file, asked)
        _forbid_processes()
        if not is_score:
            found |= _beside(file)
        document = json.dumps({**found, **_credentials(file, asked)})
        if len(document) > MOST_DOCUMENT:
            return _refused("its notes and credentials are too many", "")
        _limit_files(int(asked["most_bytes"]) - Path(asked["sound"]).stat().st_size)
        Path(asked["document"]).write_text(document, encoding="utf-8")
        return {"duration_s": found["duration_s"]}
    except RagAudioError as error:
        return _refused(error.message.replace(str(file), "the file"), error.hint)
    except MemoryError:
        return _refused(TOO_MUCH.format(**asked))
    except OSError as error:
        return {"errno": error.errno}
    except Exception:  # noqa: BLE001 - whatever a decoder raises, the file is to blame
        return _refused("it cannot be decoded: it is damaged, or not what it claims to be")


def _signed(asked: dict[str, Any]) -> dict[str, Any]:
    """Sign a file that was made from another one; the service signs, and keeps its key."""
    from rag_audio.domain.codec import read
    from rag_audio.errors import RagAudioError
    from rag_audio.provenance.credentials.signers import C2paSigner, OpenedSigning

    task = read(OpenedSigning, asked["task"])
    _limit(asked)
    if not asked.get("connects"):
        _forbid_processes()
    try:
        signer = C2paSigner.from_callback(
            _ask_to_sign,
            task.chain_pem,
            timestamp_url=task.timestamp_url,
            training=task.training,
        )
        written = signer.write_opened(task, [])
        Path(asked["document"]).write_bytes(written.manifest)
        # The label may be any text of a stranger's; only a plain one is used.
        parent = written.parent[:_LABEL]
        return {"label": written.label, "signed_at": written.signed_at, "parent": parent}
    except RagAudioError as error:
        return {**_refused(error.message, error.hint), "whole": True}
    except OSError as error:
        return {"errno": error.errno}
    except Exception as error:  # noqa: BLE001 - whatever the library raises
        return _refused(" ".join(str(error).split())[:300], "")


def _ask_to_sign(data: bytes) -> bytes:
    """A signature from the service, by the pipes that this child got from its parent."""
    os.write(1, json.dumps({"sign": b64encode(data).decode()}).encode() + b"\n")
    answer = b""
    while not answer.endswith(b"\n"):
        piece = os.read(0, _MOST_SAID)
        if not piece:
            raise OSError("nobody signs")
        answer += piece
    return b64decode(json.loads(answer)["signature"])


def _limit(asked: dict[str, Any]) -> None:
    whole, memory = max(1, round(asked["seconds"])), int(asked["megabytes"]) << 20
    used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
    resource.setrlimit(resource.RLIMIT_CPU, (whole + int(used), whole + int(used) + 1))
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    _limit_files(int(asked["most_bytes"]))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _forbid_processes() -> None:
    """Start nothing from now on, and no thread."""
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))


def _limit_files(most_bytes: int) -> None:
    """Let no file get longer from now on: writing more is an ``EFBIG``."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (max(0, most_bytes), max(0, most_bytes)))


def _audio(file: Path, asked: dict[str, Any]) -> dict[str, Any]:
    """The sound, decoded to its end and written as bare samples: interleaved float32."""
    from rag_audio.audio.reading import pour

    with open(asked["sound"], "r+b") as target:

        def begin() -> Any:
            target.seek(0)
            target.truncate()
            return lambda block: target.write(block.T.astype("<f4", order="C").tobytes())

        poured = pour(
            file,
            begin,
            max_samples=int(asked["samples"]),
            max_duration_s=float(asked["longest_s"]),
        )
    return {
        "kind": "audio",
        "duration_s": poured.duration_s,
        "sample_rate": poured.sample_rate,
        "channels": poured.channels,
        "frames": poured.frames,
        "pcm_sha256": poured.pcm_sha256,
        "notices": list(poured.notices),
    }


def _beside(file: Path) -> dict[str, Any]:
    """The encoding, and what stands beside the sound: an edit carries that."""
    from rag_audio.audio.carried_metadata import CarriedMetadata
    from rag_audio.audio.headers import read_header
    from rag_audio.audio.metadata_documents import metadata_to_json
    from rag_audio.audio.metadata_reading import read_metadata
    from rag_audio.errors import UnreadableFile

    try:
        subtype, data = read_header(file).subtype, read_metadata(file)
    except UnreadableFile:
        subtype, data = "", CarriedMetadata()
    return {"subtype": subtype, "metadata": metadata_to_json(data)}


def _midi(file: Path, asked: dict[str, Any]) -> dict[str, Any]:
    from rag_audio.audio.scores import parse, score_to_json
    from rag_audio.errors import UnreadableFile

    score, longest_s = parse(file), float(asked["longest_s"])
    if score.end_s > longest_s:
        raise UnreadableFile(
            f"{file} has notes until {score.end_s:.0f} s, longer than {longest_s:g} s",
            hint="cut it shorter",
        )
    return {"kind": "midi", "duration_s": score.end_s, "score": score_to_json(score)}


def _credentials(file: Path, asked: dict[str, Any]) -> dict[str, Any]:
    """The file's content credentials, checked against its bytes, and what they reserve."""
    from rag_audio.provenance.credentials.reading import (
        credentials_to_json,
        read_credentials,
        reservation_in,
    )

    found = read_credentials(file, str(asked["anchors"]))
    return {
        "credentials": None if found is None else credentials_to_json(found),
        "reservation": None if found is None else reservation_in(found, file),
    }


if __name__ == "__main__":
    main()
