"""Text in Momentum's language to a syntax tree.

Imported only when such a text is read, and lark only here and in `diagnosis`: lark and its tables take about
a tenth of a second that a console command must not pay.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable
from functools import cache
from importlib import resources
from typing import Any, TypeAlias

from lark import Lark, Token, Transformer
from lark.exceptions import UnexpectedInput, UnexpectedToken

from sharedstate.errors import ConfigError

from .diagnosis import diagnose
from .model import Place
from .syntax import Include, Item, Listing, Option, Scalar, Stanza, Value

__all__ = ["parse"]

#: Brackets inside brackets. Production files need about six; the bound keeps hostile ones off the stack.
MAX_DEPTH = 50

_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "'": "'", "\\": "\\", "\n": ""}

_Children: TypeAlias = list[Any]


def parse(text: str, file: str | None) -> tuple[Item, ...]:
    r"""Parse one text; includes stay as they are.

    Args:
        text: the text, line ends as ``\\n``.
        file: what errors and places call it.

    Raises:
        ConfigError: with line and column, and what was expected there.
    """
    parser, builder = _parser()
    with builder.lock:
        builder.file = file
        try:
            items: Any = parser.parse(text)
        except UnexpectedInput as error:
            raise diagnose(error, _tokens_before(error, parser, text), file) from error
    return tuple(items)


def _tokens_before(error: UnexpectedInput, parser: Lark, text: str) -> list[Token]:
    at_end = isinstance(error, UnexpectedToken) and error.token.type == "$END"
    tokens: list[Token] = []
    try:
        tokens.extend(parser.lex(text if at_end else text[: error.pos_in_stream or 0]))
    except UnexpectedInput:
        # Out of context a token can be cut differently; what came before that is still what we want.
        return tokens
    return tokens


@cache
def _parser() -> tuple[Lark, _Builder]:
    grammar = resources.files(__package__).joinpath("momentum.lark").read_text(encoding="utf-8")
    builder = _Builder()
    return Lark(grammar, parser="lalr", lexer="contextual", transformer=builder), builder


class _Builder(Transformer[Token, Any]):
    """Makes the nodes while lark parses, bottom-up: no walk over a tree whose depth the text decides.

    Lark ties one builder to one parser, so parsing takes turns under `lock`, with `file` set for the turn.
    """

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()
        self.file: str | None = None

    def start(self, items: _Children) -> _Children:
        return items

    def option(self, children: _Children) -> Option:
        name, value = children
        return Option(self._leaf(name), value if isinstance(value, Listing) else self._leaf(value))

    def header(self, tokens: _Children) -> _Children:
        return [self._leaf(token) for token in tokens if token.type != "ATTRIBUTES"]

    def stanza(self, children: _Children) -> Stanza:
        return self._stanza(children, braces=True)

    def dictionary(self, children: _Children) -> Stanza:
        return self._stanza(children, braces=False)

    def include(self, tokens: _Children) -> Include:
        directive, path = tokens
        return Include(self._leaf(path), self._place(directive))

    def bare(self, children: _Children) -> Stanza:
        opener, *body, _ = children
        place = self._place(opener)
        return Stanza((), tuple(body), False, place, self._depth(body, place))

    def list(self, children: _Children) -> Listing:
        opener, *elements, _ = children
        place = self._place(opener)
        items: list[Value] = []
        for element in elements:
            if not isinstance(element, Token):
                items.append(element)
            elif element.type != "ATTRIBUTES":
                scalar = self._leaf(element)
                if scalar.quoted:
                    items.append(scalar)
                elif text := scalar.text.strip(","):
                    items.append(Scalar(text, False, scalar.place))
        return Listing(tuple(items), place, self._depth(items, place))

    def _stanza(self, children: _Children, *, braces: bool) -> Stanza:
        head, _, *body, _ = children
        names = tuple(head if isinstance(head, list) else [self._leaf(head)])
        place = names[0].place
        return Stanza(names, tuple(body), braces, place, self._depth(body, place))

    def _depth(self, children: Iterable[Any], place: Place) -> int:
        depth = 1 + max((getattr(child, "depth", 0) for child in children), default=0)
        for child in children:
            if isinstance(child, Option) and isinstance(child.value, Listing):
                depth = max(depth, 1 + child.value.depth)
        if depth > MAX_DEPTH:
            raise ConfigError(
                f"brackets are nested more than {MAX_DEPTH} deep: split the stanza.",
                place.file,
                place.line,
                place.column,
            )
        return depth

    def _place(self, token: Token) -> Place:
        return Place(self.file, token.line or 1, token.column or 1)

    def _leaf(self, token: Token) -> Scalar:
        if token.type == "STRING":
            text = token[1:-1]
            if "\\" in text:
                # Backslashes before anything else stay: they belong to regular expressions.
                text = _ESCAPE.sub(lambda match: _ESCAPES.get(match[1], match[0]), text)
            return Scalar(text, True, self._place(token))
        return Scalar(str(token), False, self._place(token))
