"""A body is given another name of its model, and no other byte of it changes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from headrace.wire import StreamNames, decode_head, renamed_answer, with_model


class Pairs(list):  # type: ignore[type-arg]  # of an object, whose keys may come twice
    """Keys and values in their order."""


KEYS = ["model", "models", "tools", 'a"model', "\\", "é", "x"]
TEXTS = st.one_of(
    st.sampled_from(["model", '"model":"m"', '\\"model":', "gpt", '{"model":"', "[]}"]), st.text(max_size=6)
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), TEXTS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.lists(st.tuples(st.sampled_from(KEYS), inner), max_size=3).map(Pairs)
    ),
    max_leaves=8,
)
SPACE = st.sampled_from(["", " ", "\n", "\t\r\n "])
SPELLINGS = ['"model"', '"mod\\u0065l"', '"\\u006Dode\\u006c"']


def written(value: Any, draw: st.DataObject) -> str:
    """The value as JSON, spelt and spaced in one of the ways in which that can be done."""
    gap = draw.draw(SPACE)
    if isinstance(value, Pairs):
        inside = ",".join(f"{spelt(key, draw)}{gap}:{gap}{written(each, draw)}" for key, each in value)
        return f"{{{gap}{inside}{gap}}}"
    if isinstance(value, list):
        return f"[{gap}{(gap + ',').join(written(each, draw) for each in value)}{gap}]"
    return json.dumps(value, ensure_ascii=draw.draw(st.booleans()))


def spelt(key: str, draw: st.DataObject) -> str:
    return draw.draw(st.sampled_from(SPELLINGS)) if key == "model" else json.dumps(key)


@settings(max_examples=400, deadline=None)
@given(
    before=st.lists(st.tuples(st.sampled_from(KEYS), VALUES), max_size=3),
    asked=TEXTS,
    after=st.lists(st.tuples(st.sampled_from([key for key in KEYS if key != "model"]), VALUES), max_size=3),
    name=TEXTS,
    draw=st.data(),
)
def test_one_value_is_replaced_and_every_other_byte_stays(
    before: list[tuple[str, Any]], asked: str, after: list[tuple[str, Any]], name: str, draw: st.DataObject
) -> None:
    """The last `model` at the top level is the one that counts; those before it, and all inside, stay as they are."""
    assume(all(key != "model" or isinstance(value, str) for key, value in before))
    gap, value = draw.draw(SPACE), written(asked, draw)
    head = "".join(f"{spelt(key, draw)}{gap}:{written(each, draw)},{gap}" for key, each in before)
    head = f"{gap}{{{gap}{head}{spelt('model', draw)}{gap}:{gap}"
    tail = "".join(f"{gap},{spelt(key, draw)}{gap}:{written(each, draw)}" for key, each in after) + f"{gap}}}{gap}"
    body = f"{head}{value}{tail}".encode("utf-8", "replace")
    given_body = with_model(body, name)
    start, end = len(head.encode("utf-8", "replace")), len(tail.encode("utf-8", "replace"))
    assert (given_body[:start], given_body[-end:]) == (body[:start], body[-end:])
    assert json.loads(given_body[start:-end]) == name
    assert decode_head("embeddings", given_body).model == name


def test_in_a_body_of_many_models_the_request_s_own_is_replaced() -> None:
    inner = b'{"model":"a"}'
    body = b'{"model":"m","tools":[' + b",".join([inner] * 100_000) + b"]}"
    assert with_model(body, "n") == body.replace(b'"m"', b'"n"', 1)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b'{"id":"1", "model" : "theirs","x":1.50}', b'{"id":"1", "model" : "ours","x":1.50}'),
        (b'{"model":"theirs-2026-01-01"}', b'{"model":"theirs-2026-01-01"}'),
        (b'{"content":[{"input":{"model":"theirs"}}]}', b'{"content":[{"input":{"model":"theirs"}}]}'),
        (
            b'{"content":[{"input":{"model":"theirs"}}],"model":"theirs"}',
            b'{"content":[{"input":{"model":"theirs"}}],"model":"ours"}',
        ),
        (b'{"model":"theirs"', b'{"model":"theirs"'),
        (b"[]", b"[]"),
    ],
)
def test_a_whole_answer_is_renamed_where_it_says_the_name_that_was_asked_for(answer: bytes, expected: bytes) -> None:
    assert renamed_answer(answer, "theirs", "ours") == expected


def test_events_are_renamed_and_what_is_said_in_them_is_not() -> None:
    names = StreamNames('a/"b', "b")
    said = json.dumps({"model": 'a/"b', "delta": json.dumps({"model": 'a/"b'}, separators=(",", ":"))})
    for text in (said, said.replace('": ', '":')):
        event = f"data: {text}\n\n".encode()
        assert names.said_in(event)
        renamed = json.loads(names.renamed(event)[6:])
        assert (renamed["model"], renamed["delta"]) == ("b", json.loads(said)["delta"])
    assert not names.said_in(b'data: {"model":"b","x":"\\"model\\":\\"a/b\\""}\n\n')
