"""Secrets in foreign text, masked: what a log or a check's answer must not carry into the journal, a chat or a page.

Too much is masked rather than too little. Masking twice changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

MASK = "[masked]"

_NAME = (
    r"(?:passw(?:or)?d|passphrase|pwd|secret|token|(?:api|access|private|signing|auth)[_.-]?key"
    r"|credential|authorization|cookie|session[_.-]?id|signature)[\w.-]{0,40}"
)
"""What makes a key look like a secret's, up to its end. What stands before it stays anyway."""
_QUOTED = r"""(?P<quote>\\?["'])(?:(?!(?P=quote)).)*(?:(?P=quote)|$)"""

_BEGIN = re.compile(r"-----BEGIN [A-Z0-9 ]{1,40}-----")
_END = re.compile(r"-----END [A-Z0-9 ]{1,40}-----")
_BLOCK = re.compile(rf"{_BEGIN.pattern}.*?(?:{_END.pattern}|\Z)", re.DOTALL)
_BODY = re.compile(r"(?:^|.*[\s|:>])[A-Za-z0-9+/]{16,}={0,2}$")
_HEADER = re.compile(
    r"""\b((?:proxy-)?authorization|(?:set-)?cookie)(\\?["']?\s*[:=]\s*\\?["']?)([^"'\\\r\n]+)""", re.IGNORECASE
)
_KEYED = re.compile(
    rf"""({_NAME})(\\?["']?\s*(?:=>|:=|[:=])\s*)({_QUOTED}|\[masked\]|[^\s"'&;,)\]}}\\]+)""", re.IGNORECASE
)
_FLAG = re.compile(rf"(?<!\S)(--?[\w-]{{0,40}}{_NAME}\s+)(?!-)(\S+)", re.IGNORECASE)
_USERINFO = re.compile(r"(?<=://)[^\s/?#]+@")
_KNOWN = re.compile(
    r"\b(?:AKIA|ASIA|ABIA|ACCA|AGPA|AROA|AIDA)[A-Z0-9]{12,}\b"  # AWS
    r"|\bgh[pousr]_\w{16,}|\bgithub_pat_\w{16,}|\bglpat-[\w-]{16,}"
    r"|\bxox[a-z]-[\w-]{8,}|(?<=hooks\.slack\.com/)[\w/]{8,}"
    r"|\bAIza[\w-]{30,}|\b[sr]k_(?:live|test)_\w{16,}|\bsk-[\w-]{20,}"
    r"|\beyJ[\w-]{6,}\.[\w-]{6,}(?:\.[\w-]*)?",  # a JSON Web Token
)
_BEARER = re.compile(r"\b(bearer|basic)(\s+)[\w.~+/-]{8,}=*", re.IGNORECASE)
_RANDOM = re.compile(
    r"(?<![A-Za-z0-9+/])(?=[a-z0-9+/]*[A-Z])(?=[A-Z0-9+/]*[a-z])(?=[A-Za-z+/]*\d)[A-Za-z0-9+/]{40,}={0,2}"
)
"""As long as a key of AWS or longer, and of capitals, small letters and digits: hardly a word or a path."""


def masked(text: str) -> str:
    """Return the text with `[masked]` in the place of whatever looks like a secret. Lines stay lines."""
    text = _BLOCK.sub(MASK, text)
    text = _USERINFO.sub(f"{MASK}@", text)
    text = _HEADER.sub(rf"\1\2{MASK}", text)
    text = _KEYED.sub(_keyed, text)
    text = _FLAG.sub(rf"\1{MASK}", text)
    text = _BEARER.sub(rf"\1\2{MASK}", text)
    text = _KNOWN.sub(MASK, text)
    return _RANDOM.sub(MASK, text)


def masked_lines(lines: Iterable[str]) -> list[str]:
    """Return the lines masked; a key that runs over several of them is one `[masked]`, whatever of it was cut off."""
    shown: list[str] = []
    inside = False
    for whole in lines:
        line, end = whole, _END.search(whole)
        if inside:
            if end is None:
                continue
            line = whole[end.end() :]
            inside = False
            if not line.strip():
                continue
        elif end is not None and _BEGIN.search(whole, 0, end.start()) is None:
            while shown and _BODY.match(shown[-1]):
                shown.pop()
            line = MASK + whole[end.end() :]
        begin = _BEGIN.search(line)
        inside = begin is not None and _END.search(line, begin.end()) is None
        shown.append(masked(line))
    return shown


def _keyed(found: re.Match[str]) -> str:
    quote = found["quote"] or ""
    return f"{found[1]}{found[2]}{quote}{MASK}{quote}"
