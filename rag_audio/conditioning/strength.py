"""How far to leave the references' sound, where the user lets the product choose."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rag_audio.conditioning.parts import Candidate
from rag_audio.domain import License, Rights

LIKENESS = ((0.2, 0.85), (0.4, 0.72), (0.6, 0.52), (0.8, 0.0))
"""(strength, similarity that nine of ten outputs stay below): 1 − copy distance on the embedded
model, as ``benchmarks/bench_conditioning.py`` prints it."""

_NEAR, _FAR = 0.75, 0.5


def auto_strength(
    seeds: Sequence[Candidate], named: Sequence[str], rights: Rights, usual: float
) -> tuple[float, str]:
    """A strength from how well the references match and how near a copy their licenses allow.

    References that are just what was asked for (score 1) are kept near, at three quarters of the
    model's usual strength; the less they match, the further the result leaves them, up to half way
    from the usual strength to 1. Then it is raised to where an output rarely comes nearer to a
    reference than the strictest license among them allows; the output gate still measures.

    Args:
        seeds: what seeds the sound, none left out. named: prefixes of ids of stems that were asked
            for by name: they match, whatever they have in common with the prompt.
        usual: the model's default strength.

    Returns:
        The strength, in steps of 0.01, and why, in one line.
    """
    total = sum(one.weight for one in seeds)
    match = sum(one.weight / total * _match(one, named) for one in seeds)
    near, far = _NEAR * usual, usual + _FAR * (1.0 - usual)
    strength = near + (far - near) * (1.0 - match)
    why = f"the references match by {match:.2f}"
    strictest = min(_licenses(seeds, rights), key=lambda granted: granted.max_similarity)
    least = _least(strictest.max_similarity)
    if least > strength:
        why += f", and {strictest.id} allows a similarity of {strictest.max_similarity:.2f} at most"
        strength = least
    strength = round(strength, 2)
    return strength, f"strength {strength:g} chosen: {why}"


def _match(one: Candidate, named: Sequence[str]) -> float:
    if any(one.stem.id.startswith(prefix) for prefix in named):
        return 1.0
    return min(1.0, max(0.0, one.reference.score))


def _licenses(seeds: Sequence[Candidate], rights: Rights) -> list[License]:
    return [granted for one in seeds for granted in rights.licenses_of(one.stem)]


def _least(allowed: float) -> float:
    """The lowest strength at which outputs usually stay below a similarity."""
    strengths, likeness = zip(*reversed(LIKENESS), strict=True)
    return float(np.interp(allowed, likeness, strengths)) if allowed < likeness[-1] else 0.0
