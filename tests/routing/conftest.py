"""Let failures in the shared suite show the values compared."""

import pytest

pytest.register_assert_rewrite("router_contract")
