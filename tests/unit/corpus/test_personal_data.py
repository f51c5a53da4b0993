"""Personal data by form and check digits: what is found, and what only looks like it."""

import pytest

from textlabel.corpus.personal_data import find, masked, redacted


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mail a.b+c@mail.example.co.uk.", [("email", "a.b+c@mail.example.co.uk")]),
        ("müller@exämple.de", [("email", "müller@exämple.de")]),
        ("not a@b, nor @handle nor a@b.c1", []),
        ("GB82 WEST 1234 5698 7654 32", [("iban", "GB82 WEST 1234 5698 7654 32")]),
        ("GB82 WEST 1234 5698 7654 33", []),  # check digits
        ("DE89370400440532013000", [("iban", "DE89370400440532013000")]),
        ("4111 1111 1111 1111", [("card", "4111 1111 1111 1111")]),
        ("4111 1111 1111 1112", []),  # Luhn
        ("378282246310005", [("card", "378282246310005")]),
        ("0000000000000000 1111111111111111", []),
        ("192.168.1.1 is up", [("ip", "192.168.1.1")]),
        ("version 1.2.3.4.5, 300.1.1.1", []),
        ("fe80::1 and 2001:db8::8a2e:370:7334", [("ip", "fe80::1"), ("ip", "2001:db8::8a2e:370:7334")]),
        ("at 12:30:45, 16:9::, std::vector", []),
        ("+44 20 7946 0958", [("phone", "+44 20 7946 0958")]),
        ("(020) 7946 0958", [("phone", "(020) 7946 0958")]),
        ("call 09061701461 now", [("phone", "09061701461")]),
        ("555-123-4567", [("phone", "555-123-4567")]),
        ("2026-11-23, 23.11.2026, 12/11/2023", []),
        ("1,234,567.89 or 3.14159265358979 or 1234567890123456789012", []),
        ("rooms 2000-3000, pages 10-12, score 3-2", []),
    ],
)
def test_what_is_found(text, expected):
    assert [(one.kind, text[one.start : one.end]) for one in find(text)] == expected


def test_what_is_redacted_is_not_found_again():
    text = "a@b.org, +44 20 7946 0958; DE89370400440532013000 (10.0.0.1) 4111111111111111 and a@b.org"
    clean = redacted(text)
    assert clean == "[EMAIL], [PHONE]; [IBAN] ([IP]) [CARD] and [EMAIL]"
    assert find(clean) == []
    assert redacted("nothing here: 42") == "nothing here: 42"


def test_a_shown_value_gives_little_away():
    assert masked("4111 1111 1111 1111") == "4*** **** **** ***1"
    assert masked("ab") == "**"
    assert "secret" not in masked("secret.person@example.org")


@pytest.mark.parametrize("piece", ["1-", "a@", "a.", "12 34 ", ":1", "GB82 ", "a@b.", "(1)"])
def test_hostile_texts_take_no_longer_than_others(piece):
    """No pattern goes back and forth: each of these would take hours in one that does."""
    find(piece * 20_000 + "@")
