"""What is said on a stream of Envoy's external processing (`envoy.service.ext_proc.v3`), as messages and back.

Bodies are in the mode `FULL_DUPLEX_STREAMED`, which the endpoint picker protocol asks for: each side says as much as it
likes when it likes, so what Envoy sends on is what it was told, and nothing waits for an answer to its last chunk.

Source: Envoy 1.40, api/envoy/service/ext_proc/v3/external_processor.proto; Gateway API Inference Extension, Endpoint
Picker Protocol v1.0.0 (docs/proposals/004-endpoint-picker-protocol).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from google.protobuf.struct_pb2 import Struct

from headrace.epp.ext_proc import (
    FULL_DUPLEX_STREAMED,
    OVERWRITE_IF_EXISTS_OR_ADD,
    BodyMutation,
    BodyResponse,
    CommonResponse,
    HeaderMutation,
    HeadersResponse,
    HeaderValue,
    HeaderValueOption,
    ImmediateResponse,
    ProcessingResponse,
    StreamedBodyResponse,
    Told,
    TrailersResponse,
)

ENDPOINT = "x-gateway-destination-endpoint"
ENDPOINT_METADATA = "envoy.lb"
SUBSET, SUBSET_METADATA = "x-gateway-destination-endpoint-subset", "envoy.lb.subset_hint"
FILTER = "envoy.filters.http.ext_proc"
DETAILS = "response.code_details"
MAX_PIECE_BYTES = 60_000  # other data planes than Envoy take pieces of 64 KiB at most
_KEPT = ("x-envoy-", "x-request-id", ":")  # Envoy's own

Lines = list[tuple[str, bytes]]


class Head(NamedTuple):
    """Pseudo-headers and headers of a message; repeated headers are joined by `, `."""

    pseudo: dict[str, bytes]
    headers: dict[bytes, bytes]


def read_head(told: Told) -> Head:
    """The head that Envoy tells of."""
    head = Head({}, {})
    for each in told.headers.headers:
        value = each.raw_value or each.value.encode()
        if each.key.startswith(":"):
            head.pseudo[each.key] = value
            continue
        name = each.key.encode()
        before = head.headers.get(name)
        head.headers[name] = value if before is None else b"%b, %b" % (before, value)
    return head


def read_lines(head: bytes) -> Lines:
    """Header lines as they would go on the wire, as names and values."""
    lines = (line.partition(b": ") for line in head.split(b"\r\n"))
    return [(name.decode("latin-1"), value) for name, _, value in lines if name]


def code_details(told: Told) -> str:
    """Where a response comes from, as Envoy says it; empty: it does not say."""
    found = told.attributes.get(FILTER)
    return "" if found is None or DETAILS not in found else str(found[DETAILS])


def subset(told: Told) -> frozenset[str] | None:
    """The endpoints that may be picked; None: all."""
    hint = told.metadata_context.filter_metadata.get(SUBSET_METADATA)
    if hint is None or SUBSET not in hint:
        return None
    named = hint[SUBSET]
    each = named.split(",") if isinstance(named, str) else named
    return frozenset(str(endpoint).strip() for endpoint in each if str(endpoint).strip())


def in_full_duplex(told: Told) -> bool:
    """Whether bodies come as this picker takes them; True where Envoy does not say."""
    if not told.HasField("protocol_config"):
        return True
    modes = told.protocol_config
    return bool(modes.request_body_mode == modes.response_body_mode == FULL_DUPLEX_STREAMED)


def sent_on(lines: Lines, before: Iterable[bytes], endpoint: str) -> bytes:
    """A request's new head, and where it goes: nothing of the client's head stays that is not in `lines`."""
    metadata = Struct()
    metadata.get_or_create_struct(ENDPOINT_METADATA)[ENDPOINT] = endpoint
    mutation = _mutation([*lines, (ENDPOINT, endpoint.encode())], before)
    headers = HeadersResponse(response=CommonResponse(header_mutation=mutation))
    return _bytes(ProcessingResponse(request_headers=headers, dynamic_metadata=metadata))


def answer_begun(status: int, lines: Lines, before: Iterable[bytes]) -> bytes:
    """A response's new head."""
    mutation = _mutation([(":status", b"%d" % status), *lines], before)
    return _bytes(
        ProcessingResponse(response_headers=HeadersResponse(response=CommonResponse(header_mutation=mutation)))
    )


def pieces(body: bytes, *, of_request: bool, last: bool) -> Iterator[bytes]:
    """A body, or a part of it, in pieces; `last`: it ends with these."""
    starts = range(0, len(body), MAX_PIECE_BYTES) or (0,)
    for start in starts:
        piece = body[start : start + MAX_PIECE_BYTES]
        ends = last and start == starts[-1]
        if piece or ends:
            streamed = StreamedBodyResponse(body=piece, end_of_stream=ends)
            said = BodyResponse(response=CommonResponse(body_mutation=BodyMutation(streamed_response=streamed)))
            if of_request:
                yield _bytes(ProcessingResponse(request_body=said))
            else:
                yield _bytes(ProcessingResponse(response_body=said))


def trailers_passed(*, of_request: bool) -> bytes:
    """The trailers that end a body pass as they are."""
    if of_request:
        return _bytes(ProcessingResponse(request_trailers=TrailersResponse()))
    return _bytes(ProcessingResponse(response_trailers=TrailersResponse()))


def answered_here(status: int, lines: Lines, body: bytes) -> bytes:
    """An answer as a whole, with which Envoy ends the request wherever it is."""
    said = ImmediateResponse(headers=_mutation(lines, ()), body=body, details="headrace")
    said.status.code = status
    return _bytes(ProcessingResponse(immediate_response=said))


def _mutation(lines: Lines, before: Iterable[bytes]) -> Any:
    kept = {name for name, _ in lines}
    removed = [name for each in before if (name := each.decode("latin-1")) not in kept and not name.startswith(_KEPT)]
    options = [
        HeaderValueOption(header=HeaderValue(key=name, raw_value=value), append_action=OVERWRITE_IF_EXISTS_OR_ADD)
        for name, value in lines
    ]
    return HeaderMutation(set_headers=options, remove_headers=removed)


def _bytes(message: Any) -> bytes:
    said: bytes = message.SerializeToString()
    return said
