"""Small bundles, and how a search for failing cases goes."""

import pytest
from hypothesis import HealthCheck, settings

from small_bundles import digits_bundle, table_bundle, text_bundle  # noqa: F401 fixtures

settings.register_profile(
    "faults", deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
settings.load_profile("faults")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Keep decoded data out of the user's cache."""
    monkeypatch.setenv("MOIST_CACHE", str(tmp_path / "cache"))
