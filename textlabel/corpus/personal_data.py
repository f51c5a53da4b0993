"""Personal data in texts: e-mail addresses, phone numbers, payment cards, IBANs, IP addresses.

Found by their form and, where they have one, their check digits. It is a help for whoever publishes texts,
and no proof that nothing is there: addresses of houses and account numbers of other kinds are not found, and
names of people only by a model (`textlabel.models.names`).
"""

from __future__ import annotations

import ipaddress
import re
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple


class Found(NamedTuple):
    """Where personal data stand in a text, and of which kind."""

    kind: str
    start: int
    end: int


#: letters of Latin scripts; in other scripts words stand side by side without spaces
_A = "A-Za-z0-9\u00c0-\u024f"
_EMAIL = re.compile(
    rf"(?<![{_A}.+%])[{_A}_][{_A}_.+%'-]{{0,63}}@(?:[{_A}][{_A}-]{{0,62}}\.){{1,8}}"
    r"(?:xn--[A-Za-z0-9-]{2,59}|[A-Za-z]{2,24})(?![A-Za-z0-9])"
)
#: the same where name or domain are in another script
_EMAIL_ELSEWHERE = re.compile(r"(?<![\w.+%-])[\w.+%-]{1,64}@(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24}(?![\w-])")
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}\d{2}(?:[ -]?[A-Za-z0-9]){11,30}")
_DIGITS = re.compile(r"(?<![A-Za-z0-9])\d(?:[ .-]?\d){12,}")
_IP4 = re.compile(r"(?<![A-Za-z0-9.])(?:\d{1,3}\.){3}\d{1,3}(?![A-Za-z0-9]|\.\d)")
_IP6 = re.compile(r"(?<![\w:])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?![\w:])")
_PHONE = re.compile(r"(?<![A-Za-z0-9+])(?:\+|\()?\d(?:[ ./()-]{0,3}\d){8,}")
#: numbers that begin with neither + nor 0: of North America, and of mobile phones in China
_NATIONAL = re.compile(r"(?:1[ ./()-]{1,3})?\(?\d{3}\)?[ ./-]{1,3}\d{3}[ ./-]{1,3}\d{4}|1[3-9]\d{9}")
#: a date, which is no part of a phone number
_DATE = re.compile(r"(?<!\d)(?:\d{4}([-./])\d{1,2}\1\d{1,4}|\d{1,2}([-./])\d{1,2}\2(?:\d{4}|\d{2}))(?!\d)")
_YEAR = re.compile(r"(?:19|20)\d\d")
#: spaces, hyphens and digits that are typed in place of the plain ones
_PLAIN = str.maketrans(
    dict.fromkeys("\u00a0\u2007\u2009\u202f\u3000", " ")
    | dict.fromkeys("\u2010\u2011\u2012\u2013", "-")
    | {chr(0xFF10 + digit): str(digit) for digit in range(10)}
    | {"\uff0b": "+", "\uff20": "@"}
)

#: countries by length of their IBAN (SWIFT's registry of ISO 13616)
_IBAN_COUNTRIES = {
    **{15: "NO", 16: "BE", 18: "DK FI FK FO GL NL SD", 19: "MK SI", 20: "AT BA EE KZ LT LU MN XK"},
    **{21: "CH HR LI LV", 22: "BG BH CR DE GB GE IE ME RS VA", 23: "AE GI IL IQ OM SO TL"},
    **{24: "AD CZ ES MD PK RO SA SE SK TN VG", 25: "LY PT ST", 26: "IS TR", 27: "BI DJ FR GR IT MC MR SM"},
    **{28: "AL AZ BY CY DO GT HU LB NI PL SV", 29: "BR EG PS QA UA", 30: "JO KW MU YE", 31: "MT SC"},
    **{32: "LC", 33: "RU"},
}
_IBAN_LENGTHS = {
    country: length for length, countries in _IBAN_COUNTRIES.items() for country in countries.split()
}
#: how many digits a card has, the usual number first (ISO/IEC 7812), and a phone number (ITU E.164)
_CARD_DIGITS, _PHONE_DIGITS = (16, 15, 14, 13, 19, 18, 17), (11, 12, 10, 13, 9, 14, 15)


def _is_card(text: str) -> bool:
    """Return whether digits are a payment card's, by Luhn's sum."""
    if text[0] not in "23456":
        return False
    parts = re.split(r"[ .-]", text)
    digits = [int(letter) for letter in text if letter.isdigit()]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return (
        min(map(len, parts)) > 2
        and len(set(digits)) > 1
        and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0
        and not all(_YEAR.fullmatch(part) for part in parts)
        and not ("." in text and (" " in text or "-" in text or len(parts) < 3))
    )


def _is_ip(text: str) -> bool:
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return False
    # "16:9::" is an address to the letter, and never meant as one, as is "abc::def"
    named = not any(letter.isdigit() for letter in text)
    return not named and not found.is_unspecified and not (text.endswith("::") and text.count(":") < 4)


def _is_phone(text: str) -> bool:
    """Return whether digits are parted, or begin, as a phone number does."""
    if text[0] in "0(" and not text.startswith("00"):
        parts = re.findall(r"\d+", text)
        if sum(map(len, parts)) > 12 or len(parts[0]) < 2:
            return False
    elif text[0] not in "+0" and not _NATIONAL.fullmatch(text):
        return False
    mixed = "." in text and (" " in text or "-" in text or "/" in text)
    return not mixed and not _DATE.search(text)


def _windows(text: str, start: int, end: int, lengths: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """Yield parts of a run of digits that begin and end with one of its groups, by start and then by length.

    What stands beside a number is often a number, too: a run as a whole is not what must be right.
    """
    groups = [match.span() for match in re.finditer(r"\d+", text[start:end])]
    for first, (begin, _) in enumerate(groups):
        count, ends = 0, {}
        for low, high in groups[first : first + max(lengths)]:
            count += high - low
            if count > max(lengths):
                break
            ends[count] = start + high
        here = start + begin
        here -= text[here - 1 : here] in ("+", "(") if here > start or begin == 0 else 0
        yield from ((max(here, start), ends[length]) for length in lengths if length in ends)


def _is_decimal(text: str, start: int, end: int) -> bool:
    """Return whether a number goes on behind, or began before, a decimal point."""
    before = start > 1 and text[start - 1] in ".," and text[start - 2].isdigit()
    return before or (text[end : end + 1] in (".", ",") and text[end + 1 : end + 2].isdigit())


def _numbers(
    pattern: re.Pattern[str], lengths: tuple[int, ...], holds: Callable[[str], bool]
) -> Callable[[str], Iterator[tuple[int, int]]]:
    """Return what finds numbers of a kind: the first part of a run that holds, and then those behind it."""

    def spans(text: str) -> Iterator[tuple[int, int]]:
        for run in pattern.finditer(text):
            last = -1
            for start, end in _windows(text, *run.span(), lengths):
                if start >= last and not _is_decimal(text, start, end) and holds(text[start:end]):
                    yield start, end
                    last = end

    return spans


def _ibans(text: str) -> Iterator[tuple[int, int]]:
    """Yield IBANs: as many letters and digits as the country has, with the right check digits (modulo 97)."""
    for match in _IBAN.finditer(text):
        start, length = match.start(), _IBAN_LENGTHS.get(match[0][:2].upper(), 0)
        places = [i for i, letter in enumerate(match[0]) if letter.isalnum()][:length]
        if not length or len(places) < length:
            continue
        plain = "".join(match[0][i] for i in places).upper()
        end = start + places[-1] + 1
        over = text[end : end + 1]
        right = int("".join(str(int(letter, 36)) for letter in plain[4:] + plain[:4])) % 97 == 1
        if right and not (over.isascii() and over.isalnum()):
            yield start, end


def _matches(
    *patterns: re.Pattern[str], holds: Callable[[str], bool] = bool
) -> Callable[[str], Iterator[tuple[int, int]]]:
    def spans(text: str) -> Iterator[tuple[int, int]]:
        for pattern in patterns:
            yield from (match.span() for match in pattern.finditer(text) if holds(match[0]))

    return spans


#: kind -> where it stands; earlier kinds have the first word
_KINDS: dict[str, Callable[[str], Iterator[tuple[int, int]]]] = {
    "email": _matches(_EMAIL, _EMAIL_ELSEWHERE),
    "iban": _ibans,
    "card": _numbers(_DIGITS, _CARD_DIGITS, _is_card),
    "ip": _matches(_IP4, _IP6, holds=_is_ip),
    "phone": _numbers(_PHONE, _PHONE_DIGITS, _is_phone),
}
KINDS = tuple(_KINDS)


def find(text: str) -> list[Found]:
    """Return what of a text looks like personal data, in the order in which it stands there.

    Examples
    --------
    >>> [one.kind for one in find("Mail a.b@example.org or call +44 20 7946 0958.")]
    ['email', 'phone']
    """
    plain = text.translate(_PLAIN)
    if not any(letter.isdigit() for letter in plain) and "@" not in plain:
        return []
    found: list[tuple[int, int, str]] = []
    for kind, spans in _KINDS.items():
        for start, end in spans(plain):
            place = bisect_left(found, (start, end, ""))
            before = place and found[place - 1][1] > start
            if not before and not (place < len(found) and found[place][0] < end):
                insort(found, (start, end, kind))
    return [Found(kind, start, end) for start, end, kind in found]


def redacted(text: str, found: Iterable[Found] | None = None) -> str:
    """Return the text with ``[EMAIL]``, ``[PHONE]`` and so on in place of what `find` finds.

    Examples
    --------
    >>> redacted("Write to a.b@example.org!")
    'Write to [EMAIL]!'
    """
    for one in sorted(find(text) if found is None else found, reverse=True, key=lambda one: one.start):
        text = f"{text[: one.start]}[{one.kind.upper()}]{text[one.end :]}"
    return text


def masked(value: str) -> str:
    """Return a value that can be shown: letters and digits are stars, but for the first and the last of many.

    Examples
    --------
    >>> masked("a.bc@example.org"), masked("+44 20 7946 0958")
    ('a.**@*******.**g', '+4* ** **** ***8')
    """
    shown = [i for i, letter in enumerate(value) if letter.isalnum()]
    kept = {shown[0], shown[-1]} if len(shown) > 6 else set()
    kept -= {0} if value[1:2] == "@" else set()  # it would be all of the name
    return "".join("*" if letter.isalnum() and i not in kept else letter for i, letter in enumerate(value))
