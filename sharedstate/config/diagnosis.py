"""Why a text in Momentum's language did not parse, in words an operator understands.

The parser knows which tokens it would have accepted, which helps nobody who does not know the grammar. This
module looks at what stands before the place where it stopped, and often names an earlier place: where the
bracket was opened, the string began or the option was left without its value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from lark.exceptions import UnexpectedCharacters, UnexpectedInput, UnexpectedToken

from sharedstate.errors import ConfigError

if TYPE_CHECKING:
    from lark import Token

__all__ = ["diagnose"]

_SCALARS = frozenset({"WORD", "STRING", "PATTERN"})
_CLOSERS = {"{": "}", "[": "]", "(": ")"}
_VALUE = 'a word, "quoted text", a list ( … ) or a dictionary [ … ]'


class _Finding(NamedTuple):
    line: int
    column: int
    sentence: str


def diagnose(error: UnexpectedInput, before: list[Token], file: str | None) -> ConfigError:
    """Turn the parser's complaint into ours.

    Args:
        error: what the parser raised.
        before: the tokens before the place where it stopped.
        file: what the error calls the text.
    """
    token = error.token if isinstance(error, UnexpectedToken) else None
    found = None if token is None or token.type == "$END" else token
    finding = (
        _unlexable(error, before) if isinstance(error, UnexpectedCharacters) else _unexpected(found, before)
    )
    sentence = finding.sentence
    if any(quote in text for quote in "“”" for text in [*before[-4:], found or ""]):
        sentence += ' Curly quotes do not quote: write ".'
    return ConfigError(sentence, file, finding.line, finding.column)


def _unlexable(error: UnexpectedCharacters, before: list[Token]) -> _Finding:
    """Only an opened string or comment can fail to be a token: every other character may stand in a word."""
    if error.char == "/":
        return _Finding(
            error.line, error.column, "this comment is never closed: expected '*/' (comments do not nest)."
        )
    if swallowed := _swallowing_string(before, error.line):
        return swallowed
    return _Finding(error.line, error.column, f"this string is never closed: expected {error.char}.")


def _unexpected(found: Token | None, before: list[Token]) -> _Finding:
    opened = _open_brackets(before)
    inner = opened[-1] if opened else None
    value, names = _pending(before)
    pending = [token for token in (value, *names) if token is not None]
    if swallowed := _swallowing_string(pending, found.line if found else None):
        return swallowed

    if before and before[-1] == "=":
        name = f"'{_short(before[-2])} ='" if len(before) > 1 else "'='"
        return _at(found or before[-1], f"expected a value after {name}: {_VALUE}; found {_name(found)}.")
    if found == "=" and value is not None and not names:
        equals = before[before.index(value) - 1]
        if (value.line or 0) > (equals.line or 0):
            return _at(
                equals, f"expected a value after '{_short(before[before.index(equals) - 1])} =': {_VALUE}."
            )
    if inner != "(":
        if len(names) > 1 and found == "=":
            return _at(names[0], _incomplete(names[:-1]))
        if names and found == "(":
            return _at(found, f"expected '=' between '{_short(names[-1])}' and its list.")
        if names:
            return _at(names[0], _incomplete(names))
    if found is None:
        # Something is open, or the text would have been complete.
        assert inner is not None
        return _at(
            inner, f"this '{inner}' is never closed: expected '{_CLOSERS[inner]}' before the end of the file."
        )
    if found in _CLOSERS.values():
        if inner is None:
            return _at(
                found, f"this '{found}' closes nothing: expected an option, a stanza or the end of the file."
            )
        return _at(
            found,
            f"'{found}' cannot close the '{inner}' of line {inner.line}, column {inner.column}: "
            f"expected '{_CLOSERS[inner]}'.",
        )
    if inner == "(":
        return _at(
            found,
            f"expected another element or ')' to close the list of line {inner.line}, column {inner.column}; "
            f"found {_name(found)}.",
        )
    if found == "=":
        return _at(found, "expected a name before '='.")
    return _at(found, f"expected an option (name = value) or a stanza (name {{ … }}); found {_name(found)}.")


def _incomplete(names: list[Token]) -> str:
    first = _short(names[0])
    if first.startswith(","):
        return "a comma separates nothing here: leave it out."
    if len(names) == 1:
        if first.lower() in ("include", "readonly_include"):
            return f"expected a path after '{first}', such as {first} \"other.conf\"."
        return f"expected '=' and a value, or '{{', after '{first}'."
    words = " ".join(_short(name) for name in names[:4])
    return f"expected '=' after '{first}', or '{{' after '{words}'{' …' if len(names) > 4 else ''}."


def _open_brackets(tokens: list[Token]) -> list[Token]:
    opened: list[Token] = []
    for token in tokens:
        if token.type in ("LBRACE", "LSQUARE", "LPAREN"):
            opened.append(token)
        elif token.type in ("RBRACE", "RSQUARE", "RPAREN") and opened:
            opened.pop()
    return opened


def _pending(before: list[Token]) -> tuple[Token | None, list[Token]]:
    """The words at the end: the value of the option before, if they begin with one, then names."""
    start = len(before)
    while start and before[start - 1].type in _SCALARS:
        start -= 1
    run = before[start:]
    if run and start and before[start - 1] == "=":
        return run[0], run[1:]
    if run and start and before[start - 1].type == "INCLUDE":
        return None, run[1:]  # the first is the path
    return None, run


def _swallowing_string(tokens: list[Token], last_line: int | None) -> _Finding | None:
    """A string over several lines with something right behind it on its last line: one quote is missing."""
    for index, token in enumerate(tokens):
        next_line = tokens[index + 1].line if index + 1 < len(tokens) else last_line
        if token.type == "STRING" and token.end_line != token.line and token.end_line == next_line:
            return _at(
                token,
                f"this string goes on to line {token.end_line} and something follows it there: "
                "is its closing quote missing?",
            )
    return None


def _at(token: Token, sentence: str) -> _Finding:
    return _Finding(token.line or 1, token.column or 1, sentence)


def _name(token: Token | None) -> str:
    return "the end of the file" if token is None else f"'{_short(token)}'"


def _short(token: Token) -> str:
    text = " ".join(token.split())
    return text if len(text) <= 40 else f"{text[:39]}…"
