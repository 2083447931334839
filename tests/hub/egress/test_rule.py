"""Rules of the allowlist: how they are written, and what they take."""

import pytest

from hub.egress.rule import Rule, as_address, plain_host


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("Proxy.Example.org:3128", "proxy.example.org", 3128),
        ("*.example.org", "*.example.org", 0),
        ("10.0.0.0/8:443", "10.0.0.0/8", 443),
        ("fd00::/8", "fd00::/8", 0),
        ("[fd00::/8]:443", "fd00::/8", 443),
        ("[::1]:80", "::1", 80),
        ("::1", "::1", 0),
        ("bücher.example:3", "xn--bcher-kva.example", 3),
    ],
)
def test_rules_are_read_as_they_are_written(text: str, host: str, port: int) -> None:
    """Names, domains, addresses and networks, each with a port or without."""
    rule = Rule.read(text, purpose="x")

    assert (rule.host, rule.port) == (host, port)
    assert Rule.read(str(rule), purpose="x") == rule


@pytest.mark.parametrize(
    "text", ["", "*", "http://x", "a b", "a:99999", "10.0.0.1/8", "a:b", "a..b", "*.", "-a b"]
)
def test_what_is_no_rule_is_refused(text: str) -> None:
    """A mistake never allows more than was meant."""
    with pytest.raises(ValueError, match=r"no host|no network|port"):
        Rule.read(text, purpose="x")


def test_a_domain_takes_the_names_below_it_alone() -> None:
    """`*.example.org` is about hosts of that domain, not about those that end alike."""
    rule = Rule.read("*.example.org:443", purpose="x")

    assert rule.takes_name("cdn.example.org", 443)
    assert not rule.takes_name("example.org", 443)
    assert not rule.takes_name("badexample.org", 443)
    assert not rule.takes_name("cdn.example.org.evil.net", 443)
    assert not rule.takes_name("cdn.example.org", 80)


def test_a_network_takes_its_addresses_and_those_wrapped_in_ipv6() -> None:
    """IPv4 in IPv6 is connected to by IPv4."""
    rule = Rule.read("10.0.0.0/8", purpose="x")

    wrapped, other = as_address("::ffff:10.1.2.3"), as_address("11.1.2.3")
    assert wrapped is not None
    assert other is not None
    assert rule.takes_address(wrapped, 1)
    assert not rule.takes_address(other, 1)


def test_spellings_of_one_host_are_one() -> None:
    """Upper case, the final dot and other scripts make no second host."""
    assert plain_host("WWW.Bücher.Example.") == "www.xn--bcher-kva.example"
