"""Bodies that are too much, or that name what no backend is to fetch."""

from __future__ import annotations

import json
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import RequestError
from headrace.fleet import ImageUrls, Limits
from headrace.gateway.body_guard import BodyGuard
from headrace.wire import ApiName
from headrace.wire.media_urls import LARGE_BYTES, media_urls

SECRET = "http://169.254.169.254/latest/meta-data/"
GUARDS = {mode: BodyGuard(Limits(image_urls=mode)) for mode in ImageUrls}


def user(*parts: object) -> dict[str, object]:
    return {"role": "user", "content": list(parts)}


def request(api: ApiName, url: str, place: int) -> dict[str, Any]:
    """A request with the URL at one of the places that its API has for it."""
    source = {"type": "image", "source": {"type": "url", "url": url}}
    places: dict[str, list[dict[str, Any]]] = {
        "chat": [
            {"messages": [user({"type": "image_url", "image_url": {"url": url}})]},
            {"messages": [user({"type": "image_url", "image_url": url})]},
            {"messages": [user({"type": "video_url", "video_url": {"url": url}})]},
        ],
        "responses": [
            {"input": [user({"type": "input_image", "image_url": url})]},
            {"input": [user({"type": "input_file", "file_url": url})]},
            {"input": [{"type": "function_call_output", "output": [{"type": "input_image", "image_url": url}]}]},
        ],
        "messages": [
            {"messages": [user(source)]},
            {"messages": [user({"type": "tool_result", "content": [source]})]},
            {"messages": [user({"type": "document", "source": {"type": "content", "content": [source]}})]},
        ],
    }
    return {"model": "m", **places[api][place]}


def refused(mode: ImageUrls, api: ApiName, body: bytes) -> str:
    """What is said where it is refused; else nothing."""
    try:
        GUARDS[mode].read(api, body)
    except RequestError as error:
        return str(error)
    return ""


APIS: tuple[ApiName, ...] = ("chat", "responses", "messages")


@pytest.mark.parametrize(("api", "place"), list(product(APIS, range(3))))
def test_a_url_is_found_wherever_the_api_has_one(api: ApiName, place: int) -> None:
    body = json.dumps(request(api, SECRET, place)).encode()
    assert media_urls(api, body) == [SECRET]
    assert 'image_urls = "any"' in refused(ImageUrls.PUBLIC, api, body)
    assert refused(ImageUrls.DATA_ONLY, api, body)
    assert not refused(ImageUrls.ANY, api, body)


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("padding", [0, 2 * LARGE_BYTES])
def test_spelling_a_key_in_another_way_hides_nothing(api: ApiName, padding: int) -> None:
    body = json.dumps(request(api, SECRET, 0), indent=3)
    ways = [body.replace('url"', f'{letters}"') for letters in (r"\u0075rl", r"u\u0072l", r"ur\u006c", r"ur\u006C")]
    ways += [body.replace("_url", r"\u005furl"), body.replace(": ", " \n\t:\r\n   "), body]
    for way in ways:
        padded = way.replace("{", '{"metadata":{"a":"%s"},' % ("text_ur " * (padding // 8)), 1).encode()
        assert media_urls(api, padded) == [SECRET], way


def test_both_values_of_a_repeated_key_are_looked_at() -> None:
    part = '{"type":"image_url","image_url":{"url":"https://example.com/a.png"},"image_url":{"url":"%s"}}'
    for both in (part % SECRET, part.replace("https://example.com/a.png", SECRET) % "https://example.com/a.png"):
        assert refused(ImageUrls.PUBLIC, "chat", b'{"model":"m","messages":[{"content":[%b]}]}' % both.encode())


@pytest.mark.parametrize(
    "url",
    [
        *("http://10.0.0.8/a.png", "http://localhost:9/", "http://[::1]/", "http://2852039166/", "https://gpu-1/a"),
        *("http://metadata.google.internal/", "http://a.png@127.0.0.1/", "http://example.com\\@127.0.0.1/"),
        *(
            "http://127.0.0.1#@example.com/",
            " http://127.0.0.1/",
            "http:127.0.0.1",
            "//127.0.0.1/a",
            "http:/\t/10.0.0.1",
        ),
        *("http://①②⑦.0.0.1/", "http://%31%32%37.0.0.1/", "file:///etc/passwd", "ftp://example.com/a", ""),
        *("http:/\t/10.0.0.1", "http://example.com:80:80@10.0.0.1/", "HTTP://LOCALHOST/", "http://127.1/"),
    ],
)
def test_a_url_that_is_private_or_can_be_read_in_two_ways_is_refused(url: str) -> None:
    said = refused(ImageUrls.PUBLIC, "chat", json.dumps(request("chat", url, 0)).encode())
    assert "data: URL" in said


@pytest.mark.parametrize("api", APIS)
def test_public_and_inline_images_pass(api: ApiName) -> None:
    for url in ("https://example.com/a.png?x=1#y", "http://8.8.8.8:8080/a", "https://[2606:4700::1111]/a"):
        assert not refused(ImageUrls.PUBLIC, api, json.dumps(request(api, url, 0)).encode())
    inline = json.dumps(request(api, "data:image/png;base64,aGk=", 0)).encode()
    assert not any(refused(mode, api, inline) for mode in ImageUrls)


@pytest.mark.parametrize("api", APIS)
def test_what_no_server_fetches_may_name_any_host(api: ApiName) -> None:
    tool = {
        "name": "fetch",
        "input_schema": {"properties": {"url": {"type": "string"}, "image_url": {"default": SECRET}}},
    }
    call = {"type": "tool_use", "name": "fetch", "input": {"url": SECRET, "image_url": SECRET}}
    found = {"type": "search_result", "source": SECRET, "content": [{"type": "text", "text": "a"}]}
    said = {"type": "text", "text": f'see "image_url": "{SECRET}" and {{"type":"url","url":"{SECRET}"}}'}
    body = {"model": "m", "tools": [tool], "messages": [user(call, found, said)], "input": [user(call, found, said)]}
    assert media_urls(api, json.dumps(body).encode()) == []


@given(st.sampled_from(APIS), st.integers(0, 2), st.text(max_size=60), st.integers(0, 2 * LARGE_BYTES))
def test_a_body_is_read_as_a_parser_reads_it(api: ApiName, place: int, url: str, padding: int) -> None:
    body = {"user": '\\"_url' * (padding // 6), **request(api, url, place)}
    for text in (json.dumps(body), json.dumps(body, ensure_ascii=False, separators=(",", ":"))):
        assert media_urls(api, text.encode("utf-8", "surrogatepass")) == [url]


@pytest.mark.parametrize(("api", "name"), [("chat", "messages"), ("responses", "input"), ("messages", "messages")])
def test_one_message_or_tool_too_many_is_refused(api: ApiName, name: str) -> None:
    guard = BodyGuard(Limits(max_messages=20, max_tools=10))
    for key, most, entry in ((name, 20, {"role": "user", "content": "x"}), ("tools", 10, {"type": "function"})):
        guard.read(api, json.dumps({"model": "m", key: [entry] * most}).encode())
        with pytest.raises(RequestError, match=f"{key} has {most + 1} entries, and at most {most}"):
            guard.read(api, json.dumps({"model": "m", key: [entry] * (most + 1)}).encode())
    guard.read(api, json.dumps({"model": "m", "tools": None, "user": "x" * 9999}).encode())
