"""Personal data by form and check digits: what is found, and what only looks like it."""

import time

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


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("pay with 4111 1111 1111 1111 12/25 cvv 123", [("card", "4111 1111 1111 1111")]),
        ("1 4111 1111 1111 1111", [("card", "4111 1111 1111 1111")]),
        ("4111.1111.1111.1111", [("card", "4111.1111.1111.1111")]),
        ("4111\u00a01111\u00a01111\u00a01111", [("card", "4111\u00a01111\u00a01111\u00a01111")]),
        ("\u5361\u53f74111111111111111", [("card", "4111111111111111")]),
        ("send it to DE89 3704 0044 0532 0130 00 EUR 50", [("iban", "DE89 3704 0044 0532 0130 00")]),
        ("GB82 WEST 1234 5698 7654 32 BIC WESTGB22", [("iban", "GB82 WEST 1234 5698 7654 32")]),
        ("gb82 west 1234 5698 7654 32", [("iban", "gb82 west 1234 5698 7654 32")]),
        ("DE89-3704-0044-0532-0130-00", [("iban", "DE89-3704-0044-0532-0130-00")]),
        ("ring 1-800-555-0199", [("phone", "1-800-555-0199")]),
        ("1 (800) 555-0199", [("phone", "1 (800) 555-0199")]),
        ("pay 2 07700900123", [("phone", "07700900123")]),
        ("order 12345 07700 900123", [("phone", "07700 900123")]),
        ("07700900123 07700900456", [("phone", "07700900123"), ("phone", "07700900456")]),
        ("020 7946 0958 020 7946 0959", [("phone", "020 7946 0958"), ("phone", "020 7946 0959")]),
        ("Tel.+44 20 7946 0958", [("phone", "+44 20 7946 0958")]),
        ("+44 20 7946 0958-", [("phone", "+44 20 7946 0958")]),
        ("07700900123now", [("phone", "07700900123")]),
        ("+33 6 12 34 56 78", [("phone", "+33 6 12 34 56 78")]),
        ("\u7535\u8bdd13800138000", [("phone", "13800138000")]),
        ("\u7535\u8bdd\uff1a\uff11\uff13\uff18\uff10\uff10\uff11\uff13\uff18\uff10\uff10\uff10", "phone"),
        ("\u8bf7\u8054\u7cfbzhang@example.com\u8c22\u8c22" + "\u5b57" * 30, [("email", "zhang@example.com")]),
        ("_john.doe@example.org_", [("email", "_john.doe@example.org")]),
        ("john.doe@example.org-", [("email", "john.doe@example.org")]),
        ("a@xn--80ak6aa92e.xn--p1ai", [("email", "a@xn--80ak6aa92e.xn--p1ai")]),
        ("o'brien@example.org", [("email", "o'brien@example.org")]),
        ("\u0438\u0432\u0430\u043d@\u043f\u0440\u0438\u043c\u0435\u0440.\u0440\u0444", "email"),
        ("abc::def", []),
        ("2019 2020 2021 2023 were years", []),
        ("0.50 0.75 0.80 0.90, 12/11/2019 10:30, 01/02/2019 10", []),
        ("0.4217391304347826 and 41.11111111111111", []),
        ("B07XJ8C8F5, 1609459200000 ms, 20210101120000", []),
    ],
)
def test_what_stands_beside_hides_nothing(text, expected):
    found = [(one.kind, text[one.start : one.end]) for one in find(text)]
    assert [kind for kind, _ in found] == [expected] if isinstance(expected, str) else found == expected


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


@pytest.mark.parametrize(
    "piece",
    *[["1-", "a@", "a.", "12 34 ", ":1", "GB82 ", "a@b.", "(1)", "AB12" + "C" * 40 + " ", "a@b.co ", "1"]],
)
def test_hostile_texts_take_no_longer_than_others(piece):
    """No pattern goes back and forth, and what is found is looked up, not searched through."""

    def seconds(text):
        start = time.process_time()
        find(text)
        return time.process_time() - start

    times = 30_000 // len(piece)
    small, large = (min(seconds(piece * n + "@") for _ in range(2)) for n in (times // 10, times))
    assert large < 40 * small + 0.5  # ten times the text; what goes back and forth takes a hundred times
