from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterodm_py.core.errors import BadRequest
from clusterodm_py.core.requests import task_request
from clusterodm_py.core.types import TaskRequest


def test_every_field_is_taken_as_it_was_given() -> None:
    fields = {
        "name": " a name ",
        "options": "[]",
        "skipPostProcessing": "true",
        "webhook": "http://x/",
        "outputs": '["a"]',
        "dateCreated": "1700000000000",
        "unknown": "x",
    }
    assert task_request(fields) == TaskRequest(
        name=" a name ",
        options="[]",
        skip_post_processing=True,
        webhook="http://x/",
        outputs='["a"]',
        date_created=1_700_000_000_000,
    )


def test_nothing_given_is_nothing_asked() -> None:
    assert task_request({}) == TaskRequest()


@pytest.mark.parametrize("text", ["True", "1", "yes", "", "true "])
def test_only_the_exact_text_true_skips_post_processing(text: str) -> None:
    assert not task_request({"skipPostProcessing": text}).skip_post_processing


@pytest.mark.parametrize("text", ["", "soon", "1.5", "-1", "9" * 20, "9" * 5000])
def test_a_date_that_is_none_is_ignored(text: str) -> None:
    assert task_request({"dateCreated": text}).date_created is None


def test_zipurl_is_refused_and_an_empty_one_is_none() -> None:
    assert task_request({"zipurl": ""}) == TaskRequest()
    with pytest.raises(BadRequest, match="URL"):
        task_request({"zipurl": "http://x/a.zip"})


@given(st.dictionaries(st.sampled_from(["name", "options", "dateCreated", "outputs"]), st.text(), max_size=4))
def test_no_text_makes_it_raise(fields: dict[str, str]) -> None:
    task_request(fields)
