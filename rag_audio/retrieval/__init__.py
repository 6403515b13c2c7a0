"""Finding licensed references, profiles of artists, and stems in a given sound."""
