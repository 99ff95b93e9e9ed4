"""Scenarios: the service under load, and something goes wrong."""

import pytest

pytest.register_assert_rewrite("tests.acceptance.books", "tests.acceptance.laboratory")
