"""Personal data in texts: e-mail addresses, phone numbers, payment cards, IBANs, IP addresses.

Found by their form and, where they have one, their check digits. It is a help for whoever publishes texts,
and no proof that nothing is there: addresses of houses and account numbers of other kinds are not found, and
names of people only by a model (`textlabel.models.names`).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable
from typing import NamedTuple


class Found(NamedTuple):
    """Where personal data stand in a text, and of which kind."""

    kind: str
    start: int
    end: int


_EMAIL = re.compile(r"(?<![\w.+%-])[\w.+%-]{1,64}@(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24}(?![\w-])")
_IBAN = re.compile(r"(?<!\w)[A-Z]{2}\d{2}(?: ?[A-Z0-9]{1,4}){3,8}(?!\w)")
_DIGITS = re.compile(r"(?<![\w.,])\d(?:[ -]?\d){12,18}(?![\w])")
_IP4 = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w]|\.\d)")
_IP6 = re.compile(r"(?<![\w:])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?![\w:])")
_PHONE = re.compile(r"(?<![\w.,/-])(?:\+|00)?\(?\d{1,4}\)?(?:[ ./-]{0,2}\(?\d{2,5}\)?){1,5}(?![\w/-]|[.,]\d)")
#: a date, or numbers like one, which are no phone number
_DATE = re.compile(r"\d{4}([-./])\d{1,2}\1\d{1,4}|\d{1,2}([-./])\d{1,2}\2\d{2,4}")

#: longest IBAN, and how long a phone number is, in digits (ITU E.164 allows 15)
_LONGEST_IBAN, _PHONE_DIGITS = 34, (9, 15)


def _is_card(text: str) -> bool:
    """Return whether digits are a payment card's (ISO/IEC 7812: 13 to 19, by Luhn's sum)."""
    digits = [int(letter) for letter in text if letter.isdigit()]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return (
        digits[0] in (2, 3, 4, 5, 6)
        and len(set(digits)) > 1
        and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0
    )


def _is_iban(text: str) -> bool:
    """Return whether the check digits are right (ISO 13616: the number modulo 97 is 1)."""
    plain = text.replace(" ", "")
    if not 15 <= len(plain) <= _LONGEST_IBAN:
        return False
    return int("".join(str(int(letter, 36)) for letter in plain[4:] + plain[:4])) % 97 == 1


def _is_ip(text: str) -> bool:
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return False
    # "16:9::" is an address to the letter, and never meant as one
    return not found.is_unspecified and not (text.endswith("::") and text.count(":") < 4)


def _is_phone(text: str) -> bool:
    """Return whether digits are parted, or begin, as a phone number does."""
    digits = sum(letter.isdigit() for letter in text)
    if not _PHONE_DIGITS[0] <= digits <= _PHONE_DIGITS[1] or _DATE.fullmatch(text):
        return False
    if text.startswith(("+", "00")):
        return True
    parts = re.split(r"[^\d]+", text.strip("()"))
    return text.startswith(("0", "(")) or (len(parts) == 3 and 9 <= digits <= 11 and len(parts[-1]) == 4)


#: kind -> where it may stand, and whether it is one; earlier kinds have the first word
_KINDS: dict[str, tuple[re.Pattern[str], Callable[[str], bool]]] = {
    "email": (_EMAIL, lambda _: True),
    "iban": (_IBAN, _is_iban),
    "card": (_DIGITS, _is_card),
    "ip": (_IP4, _is_ip),
    "ip6": (_IP6, _is_ip),
    "phone": (_PHONE, _is_phone),
}
KINDS = ("email", "iban", "card", "ip", "phone")


def find(text: str) -> list[Found]:
    """Return what of a text looks like personal data, in the order in which it stands there.

    Examples
    --------
    >>> [one.kind for one in find("Mail a.b@example.org or call +44 20 7946 0958.")]
    ['email', 'phone']
    """
    if not any(letter.isdigit() for letter in text) and "@" not in text and "::" not in text:
        return []
    found: list[Found] = []
    for kind, (pattern, holds) in _KINDS.items():
        for match in pattern.finditer(text):
            start, end = match.span()
            free = all(end <= one.start or one.end <= start for one in found)
            if free and holds(match[0]):
                found.append(Found("ip" if kind == "ip6" else kind, start, end))
    return sorted(found, key=lambda one: one.start)


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
    """Return a value that can be shown: letters and digits are stars, but for the first and the last.

    Examples
    --------
    >>> masked("a.bc@example.org"), masked("+44 20 7946 0958")
    ('a.**@*******.**g', '+4* ** **** ***8')
    """
    shown = [i for i, letter in enumerate(value) if letter.isalnum()]
    kept = {shown[0], shown[-1]} if len(shown) > 2 else set()
    return "".join("*" if letter.isalnum() and i not in kept else letter for i, letter in enumerate(value))
