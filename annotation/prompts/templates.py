"""Jinja templates of other people's: they reach nothing, and neither memory nor time runs away.

Jinja's sandbox keeps a template from what lies around it, but `'x' * 10**10` is nothing to it. Here
each rendering has a purse of characters and a deadline. Whatever makes text or goes round pays for
the most that it could make before it does; what a prompt has no use for is not there at all.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import wraps
from typing import Any

from jinja2 import StrictUndefined, meta, nodes, pass_context
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

# What one rendering may make, in characters, beside so many times its fields; and in seconds.
MOST_MADE = 4_000_000
TIMES_FIELDS = 20
MOST_SECONDS = 5.0
FILTERS = (
    "abs batch capitalize center count d default dictsort e escape first float groupby indent int "
    "items join last length list lower map max min reject rejectattr replace reverse round safe "
    "select selectattr slice sort string striptags title tojson trim truncate unique upper "
    "wordcount wordwrap"
)
METHODS = (
    "capitalize changed count cycle endswith find get items join keys lower lstrip replace rstrip "
    "split splitlines startswith strip title upper values"
)
# These can make the product of what they are given, all others at most the sum.
MULTIPLYING = frozenset({"indent", "join", "replace", "tojson", "wordwrap"})


def compile_template(source: str) -> Callable[..., str]:
    """A function that renders a template with fields, given by name.

    It raises whatever a template can: `jinja2.TemplateError` (a `SecurityError` where it takes too
    much), or what Python raises in it.

    Raises:
        jinja2.TemplateSyntaxError: the source is no template.
    """
    template = _environment.from_string(source)

    def render(**fields: Any) -> str:
        _environment.fill_purse(MOST_MADE + TIMES_FIELDS * _size(fields))
        return template.render(**fields)

    return render


def template_fields(source: str) -> set[str]:
    """The names that a template takes from outside.

    Raises:
        jinja2.TemplateSyntaxError: the source is no template.
    """
    return meta.find_undeclared_variables(_environment.parse(source))


class BoundedSandbox(ImmutableSandboxedEnvironment):
    """A sandbox in which templates pay."""

    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%", "**"})

    def __init__(self) -> None:
        super().__init__(
            autoescape=False,
            undefined=StrictUndefined,
            keep_trailing_newline=True,
            trim_blocks=True,
        )
        self._purse = threading.local()
        self.filters = {
            **{name: self._paid(name, self.filters[name]) for name in FILTERS.split()},
            "paid_round": self._paid_rounds,
            "paid_list": self._paid_list,
        }
        self.globals.clear()  # a prompt has its fields
        self.concat = self._paid_concat  # type: ignore[method-assign]

    def fill_purse(self, most_made: float) -> None:
        """Begins a rendering of this thread's."""
        self._purse.left = most_made
        self._purse.deadline = time.monotonic() + MOST_SECONDS

    def pay(self, made: float) -> None:
        """Pays for what is about to be made.

        Raises:
            SecurityError: there is not enough left, of characters or of time.
        """
        self._purse.left -= made
        if not self._purse.left >= 0 or time.monotonic() > self._purse.deadline:
            raise SecurityError("the template takes too much memory or time")

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        usable = attr in METHODS.split() or not callable(value)
        return usable and super().is_safe_attribute(obj, attr, value)

    def wrap_str_format(self, value: Any) -> None:
        """Makes no exception for `format`."""

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        texts = [value for value in (left, right) if isinstance(value, str | Sequence)]
        if operator == "**" or (operator == "%" and texts):
            raise SecurityError(f"a template may not use {operator}")
        product = operator == "*" and texts
        self.pay(_size(left) * _size(right) if product else _size(left) + _size(right))
        return super().call_binop(context, operator, left, right)

    def call(*args: Any, **kwargs: Any) -> Any:
        # Without names of its own, like Jinja's: a template's keywords may be any.
        self, context, function, *given = args
        of = getattr(function, "__self__", "")
        self.pay(_made(getattr(function, "__name__", ""), [of, *given, *kwargs.values()]))
        return super(BoundedSandbox, self).call(context, function, *given, **kwargs)

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree: nodes.Template = _Paying().visit(super()._parse(source, name, filename))
        return tree

    def _paid(self, name: str, use: Callable[..., Any]) -> Callable[..., Any]:
        wanted = getattr(use, "jinja_pass_arg", None)

        @pass_context  # which also keeps Jinja from doing it while it compiles
        @wraps(use)
        def paid(context: Context, *args: Any, **kwargs: Any) -> Any:
            given = [list(self._paid_rounds(a)) if isinstance(a, Iterator) else a for a in args]
            self.pay(_made(name, [*given, *kwargs.values()]))
            first = {"context": context, "eval_context": context.eval_ctx, "environment": self}
            return use(*([first[wanted.name]] if wanted else []), *given, **kwargs)

        return paid

    def _paid_rounds(self, values: Iterable[Any]) -> Iterator[Any]:
        for value in values:
            self.pay(1)
            yield value

    def _paid_list(self, values: Any) -> Any:
        self.pay(_size(values))
        return values

    def _paid_concat(self, pieces: Iterable[str]) -> str:
        kept = []
        for piece in pieces:
            self.pay(1 + len(piece))
            kept.append(piece)
        return "".join(kept)


class _Paying(NodeTransformer):
    """Lets loops, lists and `~` pay, which Jinja compiles without asking its environment."""

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802 - named by Jinja
        self.generic_visit(node)
        node.iter = _filtered(node.iter, "paid_round")
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802 - named by Jinja
        self.generic_visit(node)
        first, *others = (_filtered(part, "string") for part in node.nodes)
        for other in others:
            first = nodes.Add(first, other, lineno=node.lineno)
        return first

    def visit_List(self, node: nodes.List) -> nodes.Node:  # noqa: N802 - named by Jinja
        return _filtered(self.generic_visit(node), "paid_list")

    def visit_Dict(self, node: nodes.Dict) -> nodes.Node:  # noqa: N802 - named by Jinja
        return _filtered(self.generic_visit(node), "paid_list")

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:  # noqa: N802 - named by Jinja
        self.generic_visit(node)
        return _filtered(node, "paid_list") if node.ctx == "load" else node


def _filtered(node: Any, name: str) -> Any:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)


def _made(name: str, values: Sequence[Any]) -> float:
    """The most that a filter or method can make of these values, in characters."""
    sizes = [_size(value) for value in values]
    product = 1.0
    for size in sizes if name in MULTIPLYING else ():
        product *= max(size, 1)
    return 1 + sum(sizes) + product


def _size(value: Any) -> float:
    """Characters and members of a value; a number may say how often or how long."""
    if isinstance(value, str | bytes):
        return len(value)
    if isinstance(value, int | float):
        return abs(value)
    if isinstance(value, Mapping):
        return sum(1 + _size(key) + _size(member) for key, member in value.items())
    if isinstance(value, Sequence | AbstractSet):
        return sum(1 + _size(member) for member in value)
    return 1


_environment = BoundedSandbox()
