import pytest

pytest.register_assert_rewrite("rag_audio.testing")
