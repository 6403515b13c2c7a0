"""What was cut or odd in an upload is read as far as it goes, and told with what is found."""

from __future__ import annotations

from tests.service.api.small_service import SmallService
from tests.support.damaged import encoded, flac_total, mp3, wav


def test_an_upload_that_is_cut_is_traced_and_searched_by_with_a_notice(small: SmallService) -> None:
    whole = encoded("FLAC", "PCM_16")
    cut = "breaks off after 0.93 s: its header claims 2.00 s"
    for content, notices in (
        (whole, []),
        (flac_total(whole, 0), []),
        (whole[: len(whole) // 2], [cut]),
        (encoded("W64", "PCM_16"), []),
        (encoded("AU", "PCM_16"), []),
        (encoded("CAF", "PCM_16"), []),
        (mp3() + mp3(1.0), ["holds 2 sounds one after the other; they are read as one"]),
    ):
        traced = small.client.post("/v1/trace", content=content)
        assert traced.status_code == 200, traced.text
        assert (traced.json()["found"], traced.json()["notices"]) == (False, notices)
        upload = small.upload(content)
        again = small.client.post("/v1/trace", params={"upload": upload}).json()
        assert again["notices"] == notices
        found = small.client.post("/v1/search", json={"upload": upload})
        assert found.status_code == 200, found.text
        assert found.json()["notices"] == notices


def test_a_search_by_words_has_nothing_to_tell_of_files(small: SmallService) -> None:
    assert small.client.post("/v1/search", json={"text": "piano"}).json()["notices"] == []


def test_a_killed_recorder_s_file_seeds_a_generation(small: SmallService) -> None:
    upload = small.upload(wav(0))
    asked = {"audio": upload, "audio_rights": "own", "audio_as": "search"}
    answer = small.client.post("/v1/plans", json={"prompt": "warm electric piano", **asked})
    assert answer.status_code == 200, answer.text
