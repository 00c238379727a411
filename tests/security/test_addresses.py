"""URLs of backends, and what their hosts are to the network."""

from __future__ import annotations

import pytest

from headrace.fleet import Backend
from headrace.fleet.addresses import Reach, reach_of
from headrace.fleet.check import backend_faults

METADATA = [
    *("169.254.169.254", "169.254.170.2", "2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "169.254.43518"),
    *("fd00:ec2::254", "[fe80::1%eth0]", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::"),
    *("metadata.google.internal", "Metadata.Google.Internal.", "metadata", "100.100.100.200"),
]


@pytest.mark.parametrize("host", METADATA)
def test_a_backend_where_clouds_keep_credentials_is_refused_unless_it_is_said_to_be_there(host: str) -> None:
    assert reach_of(host) is Reach.LINK_LOCAL
    bare = host.strip("[]")
    url = f"http://[{bare}]:80" if ":" in bare else f"http://{bare}"
    (fault,) = backend_faults("p", [Backend("b", "p", url)])
    assert "link_local = true" in fault.message
    assert list(backend_faults("p", [Backend("b", "p", url, link_local=True)])) == []


@pytest.mark.parametrize(
    ("host", "reach"),
    [
        ("example.com", Reach.PUBLIC),
        ("8.8.8.8", Reach.PUBLIC),
        ("2606:4700::1111", Reach.PUBLIC),
        ("10.0.0.1", Reach.PRIVATE),
        ("192.168.1.1", Reach.PRIVATE),
        ("100.64.0.1", Reach.PRIVATE),
        ("fd12::1", Reach.PRIVATE),
        ("gpu-1", Reach.PRIVATE),
        ("images.internal", Reach.PRIVATE),
        ("127.1", Reach.LOOPBACK),
        ("0", Reach.LOOPBACK),
        ("0x7f000001", Reach.LOOPBACK),
        ("::1", Reach.LOOPBACK),
        ("::ffff:127.0.0.1", Reach.LOOPBACK),
        ("localhost", Reach.LOOPBACK),
        ("a.localhost.", Reach.LOOPBACK),
        ("1.2.3.4.5", Reach.PUBLIC),  # a name, if a strange one
        ("256.1.1.1", Reach.PUBLIC),
    ],
)
def test_a_host_is_judged_as_a_resolver_reads_it(host: str, reach: Reach) -> None:
    assert reach_of(host) is reach


@pytest.mark.parametrize("url", ["file:///etc/passwd", "gopher://h", "ftp://h", "unix:///run/x", "http://", "h:80"])
def test_a_backend_of_another_scheme_or_without_a_host_is_refused(url: str) -> None:
    assert list(backend_faults("p", [Backend("b", "p", url)]))


def test_a_password_in_a_backends_url_is_refused_and_not_repeated() -> None:
    (fault,) = backend_faults("p", [Backend("b", "p", "https://user:hunter2@example.com")])
    assert "hunter2" not in str(fault)
    assert "api_key_env" in fault.message
