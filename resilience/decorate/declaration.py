"""Declaration: what the decorators of one function say, checked by itself and merged along a stack."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import attrs

from ..core.callable_identity import same_word
from ..core.checks import as_classes, number, ordinary_exceptions, text, wrong_kind
from ..core.thread_pool import ThreadPool
from ..core.vendor_errors import check_vendor
from ..engine.callables import flavour_of, name_of, place_of
from ..engine.kit import Kit
from ..engine.wrapper_spec import Flavour
from ..errors import ConfigError
from ..policies.contradictions import check_agreement
from ..policies.order import kit_of, setting_kits
from ..policies.settings import Settings, settings_with
from ..policies.shadow import Shadow
from ..registry import Registry

ISOLATIONS: Final = ("auto", "semaphore", "thread")


def _registry(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    if value is not None and not isinstance(value, Registry):
        raise ConfigError(f"registry must be a Registry, not {value!r}", attribute.name)


def _pool(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    if value is not None and not isinstance(value, ThreadPool):
        raise wrong_kind(attribute.name, ThreadPool, value)


def _both(fn: Any, name: str, ours: Any, theirs: Any) -> ConfigError:
    """The error for an option that two decorators of *fn* say differently."""
    return ConfigError(f"{name}: one stack has both {ours!r} and {theirs!r}, that of {'.'.join(name_of(fn))}"
                       f"{place_of(fn)}; let one of its decorators say it", name)


def _isolation(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    if value not in ISOLATIONS:
        raise ConfigError(f"isolation must be one of {', '.join(ISOLATIONS)}, not {value!r}", attribute.name)


def _vendor(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    if value is not None:
        check_vendor(value, attribute.name)


def _key(declaration: Declaration, attribute: attrs.Attribute[Any], value: Any) -> None:
    if not callable(value):
        text(optional=True)(declaration, attribute, value)
    elif flavour_of(value) is not Flavour.SYNC:
        raise ConfigError(f"key must be a plain function, for nobody would await what {value!r} returns",
                          attribute.name)


@attrs.frozen(kw_only=True)
class Declaration:
    """What the decorators of one function say.

    Attributes:
        policies: Outermost first.
        key: None: the function's module and qualified name. A callable: each of its results is a command of its own.
        group: None: the function's module.
        registry: None: the default one.
        max_keys: Of a callable key: commands at once; None: the default number.
        idle: Of a callable key: seconds after which one that is not called goes; None: the default.
        shadow: Gates that only count what they would refuse; True: all there are.
        raise_as: Exception class of another library, which our own errors are raised as too; None: as they are.
        templates: Of one of many commands of a function: what it is called together with others, the most general
            first.
        target: Of one of a failover's targets: its name.
        is_derived: The key was made of the function's name, and is nobody's wish to share.
        whole: Made by ``command``, which says something about every setting.
        usual: Names of the policies that nobody asked for, but are there by default.
    """

    policies: tuple[Any, ...]
    key: str | Callable[..., str] | None = attrs.field(default=None, validator=_key)
    group: str | None = attrs.field(default=None, validator=text(optional=True))
    registry: Registry | None = attrs.field(default=None, validator=_registry)
    isolation: str = attrs.field(default="auto", validator=_isolation)
    pool: ThreadPool | None = attrs.field(default=None, validator=_pool)
    ignore: tuple[type[Exception], ...] = attrs.field(default=(), converter=as_classes, validator=ordinary_exceptions)
    max_keys: int | None = attrs.field(default=None, validator=number(least=1, most=1_000_000, whole=True,
                                                                      optional=True))
    idle: float | None = attrs.field(default=None, validator=number(above=0, most=31_536_000.0, optional=True))
    shadow: Any = ()
    raise_as: type[Exception] | None = attrs.field(default=None, validator=_vendor)
    templates: tuple[str, ...] = ()
    target: str | None = None
    is_derived: bool = False
    whole: bool = False
    usual: frozenset[str] = frozenset()
    _names: tuple[str, ...] = attrs.field(init=False, repr=False, eq=False)  # of the policies

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "_names", tuple(kit_of(policy).name for policy in self.policies))
        cache = self.named("cache")
        if cache is not None and cache.by is not None and flavour_of(cache.by) is not Flavour.SYNC:
            raise ConfigError(f"by must be a plain function, for nobody would await what {cache.by!r} returns", "by")
        named = self.shadow is not True
        object.__setattr__(self, "shadow", Shadow(self.shadow).of(self.policies, named=named))

    def chain(self) -> dict[Kit, Any]:
        """The policies by kit, outermost first."""
        return {kit_of(policy): policy for policy in self.policies}

    def named(self, name: str) -> Any:
        """The policy whose setting has this *name*, or None."""
        return self.policies[self._names.index(name)] if name in self._names else None

    def of_key(self, key: str, template: str) -> Declaration:
        """The same for one *key* of a function; all keys share the *template*.

        Raises:
            ConfigError: The key is empty, or no string.
        """
        text()(self, attrs.fields(Declaration).key, key)  # all else has been checked
        one: Any = object.__new__(Declaration)
        said: Any = self.__getstate__()
        one.__setstate__({**said, "key": key, "templates": (template,)})
        return one  # type: ignore[no-any-return]

    def asks_for_timeout(self) -> bool:
        """Whether a timeout was asked for, and is not just there by default."""
        timeout = self.named("timeout")
        return timeout is not None and timeout.timeout is not None and "timeout" not in self.usual

    def runs(self, flavour: Flavour) -> Flavour:
        """How a function of this *flavour* is to be run: a plain one may be moved to a worker thread.

        The default timeout alone does not move it: what its caller's thread has, such as a transaction, is not there.
        """
        timeout = self.named("timeout")
        needs = self.asks_for_timeout() or ((self.pool is not None or any(kit.needs_threads for kit in self.chain()))
                                            and timeout is not None and timeout.timeout is not None)
        isolated = flavour is Flavour.SYNC and self.isolation != "semaphore" and (self.isolation == "thread" or needs)
        return Flavour.THREAD if isolated else flavour

    def may_move(self, flavour: Flavour) -> bool:
        """Whether a function of this *flavour* runs on a worker thread once a file or its handle says a timeout."""
        timeout = self.named("timeout")
        if self.runs(flavour) is not Flavour.SYNC or self.isolation != "auto" or timeout is None \
                or timeout.timeout is None:
            return False
        try:
            self.check_suited(Flavour.THREAD, "")
        except ConfigError:  # a policy is for calls that stay
            return False
        return True

    def check_suited(self, flavour: Flavour, key: str) -> None:
        """Raise ConfigError if a policy is not for functions that run so."""
        for kit, policy in self.chain().items():
            if flavour.is_block and kit.no_block:
                raise ConfigError(f"{key}: a with block cannot have {kit.name}=: {kit.no_block}. Put the code into a "
                                  "function, and decorate that", kit.name)
            kit.check_needs(policy, key)
            if kit.suits is not None:
                kit.suits(policy, self, flavour, key)
        check_agreement(key, self, {})

    def above(self, inner: Declaration, fn: Any) -> Declaration:
        """Put this declaration on top of *inner*, both of the function *fn*, and return them as one."""
        merged = {}
        for name in ("key", "group", "registry", "pool", "max_keys", "idle", "raise_as"):
            ours, theirs = getattr(self, name), getattr(inner, name)
            if ours is not None and theirs is not None and not same_word(ours, theirs):
                raise _both(fn, name, ours, theirs)
            merged[name] = ours if ours is not None else theirs
        if self.isolation != "auto" and inner.isolation not in ("auto", self.isolation):
            raise _both(fn, "isolation", self.isolation, inner.isolation)
        return Declaration(
            policies=(*self.policies, *inner.policies), **merged,
            isolation=self.isolation if self.isolation != "auto" else inner.isolation,
            ignore=(*self.ignore, *inner.ignore), shadow=(*self.shadow, *inner.shadow), whole=self.whole or inner.whole,
            usual=(self.usual | inner.usual) - {kit.name for declaration in (self, inner) for kit in declaration.chain()
                                                if kit.name not in declaration.usual})

    def settings(self, flavour: Flavour) -> tuple[Settings, frozenset[str]]:
        """What this means for a function of this *flavour*: settings, and the names of those it says anything about."""
        policies: dict[str, Any] = {}
        said: dict[str, Any] = {}
        for kit in setting_kits():
            policy = self.named(kit.name)
            reaches = policy if policy is None else kit.in_force(policy, flavour)
            policies[kit.name] = kit.said(reaches)
            said[kit.name] = policy
            if policy is not None and reaches is None and kit.name in self.usual:
                said[kit.name] = _SAYS_NOTHING  # the default says nothing where it could not be
        for policy in self.policies:
            for name in kit_of(policy).instead_of:
                said[name] = _SAYS_NOTHING
        fallback = self.named("fallback")
        settings = Settings(pool=self.pool, shadow=self.shadow, has_fallback=fallback is not None,
                            isolation="thread" if flavour is Flavour.THREAD else "semaphore",
                            **({} if fallback is None else {"fallback_max_concurrent": fallback.max_concurrent}))
        said |= {"pool": self.pool or _SAYS_NOTHING, "shadow": self.shadow or None}
        stated = {name for name, value in said.items() if value is not _SAYS_NOTHING
                  and (value is not None or self.whole)}
        return settings_with(settings, **policies), frozenset(stated)


#: In the place of a policy: nothing is said about it, which is not to say that there is none.
_SAYS_NOTHING: Final = object()
