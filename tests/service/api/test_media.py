"""Sound that libsndfile does not read, and videos, over HTTP."""

from __future__ import annotations

from pathlib import Path

from tests.service.api.small_service import SmallService
from tests.support.media import PICTURE, converted, mp4, needs_ffmpeg, tones, track


@needs_ffmpeg
def test_an_m4a_is_uploaded_and_searched_with_and_a_video_is_traced(
    cleared: SmallService, tmp_path: Path
) -> None:
    sound = converted(tmp_path / "a.m4a", tones(), "-c:a", "aac").read_bytes()
    answer = cleared.client.post("/v1/uploads", content=sound)
    assert answer.status_code == 201, answer.text
    assert (answer.json()["kind"], round(answer.json()["duration_s"])) == ("audio", 1)
    found = cleared.client.post("/v1/search", json={"upload": answer.json()["id"], "limit": 1})
    assert found.status_code == 200, found.text
    clip = converted(tmp_path / "a.mp4", tones(), *PICTURE, "-c:v", "mpeg4", "-c:a", "aac")
    traced = cleared.client.post("/v1/trace", content=clip.read_bytes())
    assert traced.status_code == 200, traced.text
    assert traced.json()["found"] is False


def test_a_video_without_sound_is_one_line(cleared: SmallService) -> None:
    answer = cleared.client.post("/v1/trace", content=mp4(track(b"vide", b"avc1"), brand=b"isom"))
    assert answer.status_code == 422
    assert answer.json()["detail"] == (
        "the file has no sound: it is MP4 (mp4) without a sound track"
    )
