"""What was cut or odd in an upload is read as far as it goes, and told with what is found."""

from __future__ import annotations

import pytest

from tests.service.api.small_service import SmallService
from tests.support.damaged import encoded, flac_total, mp3, wav
from tests.support.label_files import midi, notes, score, tempo, track, tune

CUT = "breaks off after 0.93 s: its header claims 2.00 s"


def cut_flac(small: SmallService) -> str:
    """An upload of a file that breaks off."""
    whole = encoded("FLAC", "PCM_16")
    return small.upload(whole[: len(whole) // 2])


def lying_score(small: SmallService) -> str:
    """An upload of a score that names more tracks than it has."""
    return small.upload(midi(track(tempo(90.0)), track(notes(tune(3))), claimed=5))


def test_an_upload_that_is_cut_is_traced_and_searched_by_with_a_notice(small: SmallService) -> None:
    whole = encoded("FLAC", "PCM_16")
    for content, notices in (
        (whole, []),
        (flac_total(whole, 0), []),
        (whole[: len(whole) // 2], [CUT]),
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


def test_a_search_by_an_odd_score_tells_what_is_odd_in_it(small: SmallService) -> None:
    found = small.client.post("/v1/search", json={"upload": lying_score(small)})
    assert found.status_code == 200, found.text
    assert found.json()["notices"] == ["the header says 5 tracks, 2 are there"]
    whole = small.client.post("/v1/search", json={"upload": small.upload(score(5))})
    assert whole.json()["notices"] == []


@pytest.mark.parametrize("used_as", ["search", "melody"])
def test_what_is_odd_in_a_sound_stands_in_plan_job_and_result(
    small: SmallService, used_as: str
) -> None:
    small.empty()
    whole = encoded("FLAC", "PCM_16", 4.0)
    upload = small.upload(whole[: len(whole) // 2])
    asked = {"audio": upload, "audio_rights": "own", "audio_as": used_as}
    plan = small.client.post("/v1/plans", json={"prompt": "warm electric piano", **asked})
    assert plan.status_code == 200, plan.text
    (told,) = [note for note in plan.json()["plan"]["notes"] if "breaks off" in note]
    assert told == f"{upload}.flac: breaks off after 1.95 s: its header claims 4.00 s"
    job = small.accept(**asked)["id"]
    assert small.plan(job)["notes"].count(told) == 1
    ended = small.run(job)
    assert ended["state"] == "succeeded", ended
    assert ended["notes"].count(told) == 1


def test_what_is_odd_in_a_score_stands_in_the_plan(small: SmallService) -> None:
    upload = lying_score(small)
    answer = small.client.post("/v1/plans", json={"prompt": "warm piano", "midi": upload})
    assert answer.status_code == 200, answer.text
    told = f"{upload}.mid: the header says 5 tracks, 2 are there"
    assert answer.json()["plan"]["notes"].count(told) == 1


def test_what_is_odd_in_an_edited_sound_stands_in_plan_job_and_result(small: SmallService) -> None:
    small.empty()
    upload = cut_flac(small)
    asked = {"kind": "vary", "upload": upload, "audio_rights": "own", "prompt": "bells", "steps": 2}
    answer = small.client.post("/v1/edits", json=asked)
    assert answer.status_code == 202, answer.text
    job, told = answer.json()["id"], f"{upload}.flac: {CUT}"
    assert small.plan(job)["notes"].count(told) == 1
    ended = small.run(job)
    assert ended["state"] == "succeeded", ended
    assert ended["notes"].count(told) == 1
