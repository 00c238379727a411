"""`headrace init [FLEET]`: a first fleet file from six questions, or from flags, checked against what answers."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from headrace.cli.endpoints import Seen, dialect_of, known_model, look, spoken
from headrace.cli.first_fleet import FAST, OWN, PROVIDERS, Wanted, first_fleet_text, list_price, unusable
from headrace.cli.output import JsonPath, say, write_result
from headrace.cli.places import Wanted as Served
from headrace.cli.places import place_of
from headrace.cli.questions import Question, answer, require
from headrace.config import load_fleet
from headrace.fleet import Accelerator, Backend, Deployment, Model, PerToken, catalog
from headrace.perf.memory import accelerators_needed

NO_KEY = "-"
OWN_URL = Question("--own", "1/6 Where does your own model server answer? (URL; several with commas)")
OWN_CHIPS = Question("--on", "2/6 What does each run on? (CHIP:COUNT, as H100:8; see `headrace catalog accelerators`)")
OWN_COST = Question("--usd-per-hour", "3/6 What does one of these chips cost you an hour, in USD?")
FAST_URL = Question("--fast", f"4/6 Who serves the fast share? ({', '.join(PROVIDERS)}, or a URL)")
FAST_KEY = Question("--key-env", f"5/6 Which environment variable holds its key? ({NO_KEY}: it takes none)")
SHARE = Question("--share", "6/6 How many percent of your compute should it serve?")
WHICH = Question("--model", "Which of these models?")


def init(
    fleet: Annotated[Path, typer.Argument(help="The fleet file to write.")] = Path("fleet.toml"),
    own: Annotated[str | None, typer.Option(help="URL of your own model server; several with commas.")] = None,
    on: Annotated[str | None, typer.Option(help="What each of them runs on, as CHIP:COUNT.")] = None,
    usd_per_hour: Annotated[
        float | None, typer.Option(min=0.0, help="What one of these chips costs; default: the catalog's figure.")
    ] = None,
    fast: Annotated[
        str | None, typer.Option(help=f"Who serves the fast share: {', '.join(PROVIDERS)}, or URL.")
    ] = None,
    key_env: Annotated[str | None, typer.Option(help="Environment variable with its key; - for none.")] = None,
    share: Annotated[
        float | None, typer.Option(min=0.0, max=100.0, help="Percent of the compute that it is to serve.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Which model, where both sides have several.")] = None,
    own_key_env: Annotated[str | None, typer.Option(help="Environment variable with the own servers' key.")] = None,
    own_dialect: Annotated[str | None, typer.Option(help="Dialect of the own servers; default: recognised.")] = None,
    fast_dialect: Annotated[str | None, typer.Option(help="Dialect of the fast side; default: recognised.")] = None,
    fast_on: Annotated[str | None, typer.Option(help="What the fast side runs on, as CHIP:COUNT.")] = None,
    fast_price: Annotated[
        str | None, typer.Option(help="USD per million tokens, IN,OUT; default: the list price.")
    ] = None,
    json: JsonPath = None,
) -> None:
    """Write a first fleet file: asks six questions, or takes flags, and looks at what answers.

    No key goes into the file: it names the environment variable that holds one. An existing file stays as it is.
    """
    _refuse_to_overwrite(fleet)
    require({OWN_URL.flag: own, OWN_CHIPS.flag: on, FAST_URL.flag: fast})
    owners = answer(OWN_URL, own, lambda text: _own_servers(text, own_key_env, own_dialect))
    chip = answer(OWN_CHIPS, on, _chip)
    usd = answer(_with_default(OWN_COST, _catalog_price(chip.chip)), _text(usd_per_hour), _number(OWN_COST))
    provider = answer(FAST_URL, fast, _provider)
    key = answer(_with_default(FAST_KEY, provider.key_env), key_env, _variable)
    fast_side = _fast_server(provider.url, key, fast_dialect or dialect_of(provider.url))
    part = answer(_with_default(SHARE, _sample_share()), _text(share), _number(SHARE)) / 100
    chosen = _model(owners, fast_side, model)
    wanted = _wanted(chosen, owners, fast_side, chip.text, fast_on, fast_price, usd, part)
    with fleet.open("x", encoding="utf-8") as file:
        file.write(first_fleet_text(wanted, str(fleet)))
    backends = [*wanted.own_backends, wanted.fast_backend]
    found = {backend.name: {"url": backend.url, "dialect": backend.dialect} for backend in backends}
    write_result(json, {"schema": 1, "command": "init", "file": str(fleet), "model": chosen.name, "backends": found})
    _say_next(fleet, backends, chosen)


class _Chip(NamedTuple):
    text: str
    chip: Accelerator


class _Provider(NamedTuple):
    url: str
    key_env: str


def _refuse_to_overwrite(fleet: Path) -> None:
    if fleet.exists():
        raise unusable(str(fleet), "is there already, and stays as it is; name another file, or move it away")
    if not fleet.parent.is_dir():
        raise unusable(str(fleet), f"there is no folder {str(fleet.parent)!r}; make it first")


def _own_servers(text: str, key_env: str | None, dialect: str | None) -> list[Seen]:
    urls = [_url(part) for part in text.split(",") if part.strip()]
    if not urls:
        raise unusable(OWN_URL.flag, "names no URL; write one as http://127.0.0.1:8000")
    return _looked(OWN_URL, [_backend(OWN, n, url, key_env, dialect) for n, url in enumerate(urls, 1)])


def _fast_server(url: str, key_env: str | None, dialect: str) -> Seen:
    (seen,) = _looked(FAST_URL, [_backend(FAST, 1, url, key_env, dialect)])
    return seen


def _backend(pool: str, number: int, url: str, key_env: str | None, dialect: str | None) -> Backend:
    return Backend(f"{pool}-{number}", pool, url, api_key_env=key_env, dialect=dialect or dialect_of(url))


def _looked(question: Question, backends: Sequence[Backend]) -> list[Seen]:
    """What they are. Raises ConfigError: one does not answer, or has no catalogue."""
    found = look(backends, os.environ)
    for seen in found:
        path = f"{question.flag} {seen.backend.url}"
        if seen.listing is None:
            raise unusable(path, f"{seen.fault}; start it, or mend the URL or the key, and try again")
        if not seen.listing.models:
            raise unusable(path, f"names no models ({seen.listing.status}); the URL ends before /v1/models")
        emulated = " (emulated)" if seen.listing.emulated else ""
        say(f"{seen.backend.url}: {spoken(seen).dialect}{emulated}, serves {', '.join(seen.listing.models)}")
    return found


def _url(text: str) -> str:
    """A base URL: without the part of the path that dialects add."""
    return text.strip().rstrip("/").removesuffix("/v1")


def _chip(text: str) -> _Chip:
    any_model = catalog.models()[0]
    chip = place_of(text, Served(any_model, 1, None, None), None).deployment.accelerator
    if chip is None:
        raise unusable(OWN_CHIPS.flag, f"{text!r} names no chip; write CHIP:COUNT")
    return _Chip(text, chip)


def _catalog_price(chip: Accelerator) -> str | None:
    return None if chip.price_usd_per_h is None else f"{chip.price_usd_per_h:g}"


def _provider(text: str) -> _Provider:
    known = PROVIDERS.get(text.strip().lower())
    if known is not None:
        return _Provider(known.url, known.key_env)
    if "://" not in text:
        raise unusable(
            FAST_URL.flag, f"{text!r} is neither {' nor '.join(PROVIDERS)} nor a URL with http:// or https://"
        )
    by_dialect = PROVIDERS.get(dialect_of(text))
    return _Provider(_url(text), NO_KEY if by_dialect is None else by_dialect.key_env)


def _variable(text: str) -> str | None:
    """The variable's name. Raises ConfigError: there is no such variable, or this looks like the key itself."""
    name = text.strip()
    if name == NO_KEY:
        return None
    if not name.replace("_", "a").isalnum() or name[0].isdigit():
        raise unusable(FAST_KEY.flag, "takes the name of a variable, never the key itself: export NAME=..., give NAME")
    if name not in os.environ:
        raise unusable(FAST_KEY.flag, f"{name} is not set in this shell: export {name}=... and run this again")
    return name


def _number(question: Question) -> Callable[[str], float]:
    def read(text: str) -> float:
        try:
            return float(text.strip().rstrip("%"))
        except ValueError:
            raise unusable(question.flag, f"{text!r} is no number") from None

    return read


def _text(value: float | None) -> str | None:
    return None if value is None else f"{value:g}"


def _with_default(question: Question, default: str | None) -> Question:
    return question._replace(default=default)


def _sample_share() -> str | None:
    share = load_fleet().steered_share()
    return None if share is None else f"{share.target * 100:g}"


def _model(own: Sequence[Seen], fast: Seen, given: str | None) -> Model:
    """The model that all of them have: by a name that they all know, else by the catalog's."""
    lists = [seen.listing.models for seen in (*own, fast) if seen.listing is not None]
    known = _by_one_name(lists) or _by_the_catalog(lists)
    if given is not None:
        wanted = known_model(given)
        known = {name: each for name, each in known.items() if name == given or each == wanted}
    if not known:
        raise unusable("model", _no_model(lists, given))
    name = next(iter(known)) if len(known) == 1 else _which(list(known))
    return replace(known[name], name=name)


def _by_one_name(lists: Sequence[Sequence[str]]) -> dict[str, Model]:
    shared = [name for name in lists[0] if all(name in names for names in lists)]
    return {name: found for name in shared if (found := known_model(name)) is not None}


def _by_the_catalog(lists: Sequence[Sequence[str]]) -> dict[str, Model]:
    sides = [[found for name in names if (found := known_model(name)) is not None] for names in lists]
    return {each.name: each for each in sides[0] if all(each in side for side in sides)}


def _asked(seen: Seen, model: Model) -> Backend:
    """The backend as it speaks, with its own name of the model where that is another."""
    names = () if seen.listing is None else seen.listing.models
    own = next((name for name in names if (found := known_model(name)) is not None and found.name == model.name), None)
    return replace(spoken(seen), served_model_name=None if model.name in names else own)


def _no_model(lists: Sequence[Sequence[str]], given: str | None) -> str:
    sides = "; ".join(", ".join(names) for names in lists)
    wanted = "no model" if given is None else f"no {given!r}"
    return f"{wanted} of the catalog (`headrace catalog models`) is on every side ({sides}); serve one that they share"


def _which(names: list[str]) -> str:
    def read(text: str) -> str:
        if text.strip() not in names:
            raise unusable(WHICH.flag, f"takes one of {', '.join(names)}")
        return text.strip()

    return answer(WHICH._replace(text=f"{WHICH.text} ({', '.join(names)})"), None, read)


def _wanted(
    model: Model,
    own: Sequence[Seen],
    fast: Seen,
    on: str,
    fast_on: str | None,
    fast_price: str | None,
    usd: float,
    share: float,
) -> Wanted:
    backend = _asked(fast, model)
    return Wanted(
        model=model,
        own=replace(place_of(on, _served(model), None).deployment, name=OWN),
        fast=_fast_deployment(model, backend.dialect, fast_on),
        own_backends=tuple(_asked(seen, model) for seen in own),
        fast_backend=backend,
        usd_per_accelerator_hour=usd,
        fast_price=_price(model, backend.dialect, fast_price),
        share=share,
    )


def _served(model: Model) -> Served:
    return Served(model, Deployment("any", model).max_batch, None, None)


def _fast_deployment(model: Model, dialect: str, on: str | None) -> Deployment:
    if on is not None:
        return replace(place_of(on, _served(model), None).deployment, name=FAST)
    if dialect not in PROVIDERS:
        raise unusable("--fast-on", f"is missing: nobody knows what {dialect} runs on; write CHIP:COUNT")
    one = Deployment(FAST, model, catalog.accelerator(PROVIDERS[dialect].chip))
    return replace(one, count=accelerators_needed(one))


def _price(model: Model, provider: str, given: str | None) -> PerToken:
    if given is None:
        found = list_price(provider, model)
        if found is None:
            raise unusable("--fast-price", f"is missing: no list price of {model.name} at {provider}; write IN,OUT")
        return found
    try:
        input_usd, output_usd = (float(part) for part in given.split(","))
    except ValueError:
        raise unusable(
            "--fast-price", f"{given!r} is not two numbers; write IN,OUT in USD per million tokens"
        ) from None
    return PerToken(input_usd, output_usd)


def _say_next(fleet: Path, backends: Sequence[Backend], model: Model) -> None:
    body = f'{{"model":"{model.name}","max_tokens":32,"messages":[{{"role":"user","content":"Hello"}}]}}'
    file = shlex.quote(str(fleet))
    say(f"wrote {fleet}; next:")
    print(f"headrace check {file} --live {backends[-1].name}")
    print(f"headrace serve {file}")
    print(f"curl -s http://127.0.0.1:8080/v1/chat/completions -H 'content-type: application/json' -d '{body}'")
