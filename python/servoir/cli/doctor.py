"""servoir doctor: which backends there are, where they were found, and whether servables have what they need.

With --json the same on standard output:

    report   := {"servoir": version, "python": version, "cores": number, "backends": [backend], "servables": [servable]}
    backend  := {"name", "usable": bool, "version": str | null, "tested": bool, "tested_versions": "2.7 to 2.10",
                 "found": path | null, "devices": [str], "problem": str | null,
                 "refused": [{"path", "place", "reason"}]}
    servable := {"path", "version": number | null, "problem": str | null, "models": [model]}
    model    := {"name", "formats": [str], "backends": [str], "usable": [str], "missing": bool, "problem": str | null,
                 "encrypted": bool, "run_by": str | null, "refusals": [str]}

`backends` of a model are those that could run it, in the order in which they are tried, `usable` those of them that are
there. `run_by` is the backend that has opened its files, with its version, `refusals` why others before it could not.
Files that are encrypted are not opened. The structure only ever grows.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from typing import TYPE_CHECKING, Any

from servoir import _core
from servoir.server.config import ServableStartConfig
from servoir.server.plan import ServablePlan, make_plans

if TYPE_CHECKING:
    from servoir.backends.examination import Examination

    Subcommands = argparse._SubParsersAction[argparse.ArgumentParser]

_OPENING = 10  # times as long as a library may take to load: models may have to be compiled

_DESCRIPTION = """\
Shows which backends can be used here, their versions and devices, where they were found, and every library that was
refused with the reason. With servables: which backends their models need, whether those are there, and which one opens
their files."""

_EPILOG = """\
Exit status: 0; 1 if a model of one of the servables has no backend that can be used, or what a servable needs cannot be
told; 2 for wrong arguments. Libraries and configurations are loaded in processes of their own, each for at most
SERVOIR_TRIAL_SECONDS (60)."""


def add(subcommands: Subcommands) -> None:
    parser = subcommands.add_parser(
        "doctor", help="show the backends, and what servables need", description=_DESCRIPTION, epilog=_EPILOG
    )
    parser.add_argument(
        "servables",
        metavar="SERVABLE",
        nargs="*",
        type=_servable,
        help="a servable's directory: servable_directory/servable_name",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def _servable(path: str) -> ServablePlan:
    directory, name = os.path.split(os.path.abspath(path))
    try:
        plans, _ = make_plans([ServableStartConfig(directory, name)])
    except RuntimeError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return plans[0]


def run(arguments: argparse.Namespace) -> int:
    from servoir import backends
    from servoir.backends.examination import examine

    examined = [examine(name) for name in backends.backend_names()]
    usable = {one.backend for one in examined if one.usable}
    servables = [_examine_servable(plan, usable) for plan in arguments.servables]
    report = {
        "servoir": _core.__version__,
        "python": platform.python_version(),
        "cores": _core.usable_cores(),
        "backends": [_described(one) for one in examined],
        "servables": servables,
    }
    print(json.dumps(report, indent=2, ensure_ascii=False) if arguments.json else "\n".join(_shown(report)))
    wrong = any(servable["problem"] or any(model["missing"] for model in servable["models"]) for servable in servables)
    return 1 if wrong else 0


# ---- examining ------------------------------------------------------------------------------------------------------


def _described(one: Examination) -> dict[str, Any]:
    return {
        "name": one.backend,
        "usable": one.usable,
        "version": one.version or None,
        "tested": one.tested,
        "tested_versions": one.tested_range,
        "found": one.found or None,
        "devices": one.devices,
        "problem": one.problem or None,
        "refused": [{"path": it.path, "place": it.place, "reason": it.reason} for it in one.refused],
    }


def _examine_servable(plan: ServablePlan, usable: set[str]) -> dict[str, Any]:
    from servoir.servable.versions import version_directory

    path = os.path.join(plan.directory, plan.name)
    described: dict[str, Any] = {"path": path, "version": None, "problem": None, "models": []}
    declared, problem = _declared_models(plan)
    if problem:
        return {**described, "problem": problem}
    if not declared:
        return described
    try:
        directory = version_directory(path, plan.version)
    except RuntimeError as error:
        return {**described, "problem": str(error)}
    models = [_open_model(_examine_model(model, directory, usable), plan) for model in declared]
    return {**described, "version": plan.version, "models": models}


def _declared_models(plan: ServablePlan) -> tuple[list[dict[str, Any]], str]:
    """What servable_config.py declares, or why that cannot be told."""
    from servoir.backends.native import trial_seconds

    # -P would keep the current directory out of sys.path; a worker has it there, too.
    command = [sys.executable, "-m", "servoir.cli.declared_models", plan.directory, plan.name]
    records, failure = _core.run_trial(command, trial_seconds())
    if failure:
        return [], f"servable_config.py {failure}"
    for key, text in records:
        if key == "failed":
            return [], f"servable_config.py cannot be imported: {text}"
    return [json.loads(text) for key, text in records if key == "model"], ""


def _examine_model(model: dict[str, Any], directory: str, usable: set[str]) -> dict[str, Any]:
    from servoir import backends
    from servoir.backends.model_file import ModelFile, is_encrypted, missing_file

    described: dict[str, Any] = {
        "name": model["name"],
        "formats": [],
        "backends": [],
        "usable": [],
        "missing": False,
        "problem": None,
        "encrypted": False,
        "run_by": None,
        "refusals": [],
    }
    paths = [os.path.join(directory, file) for file in model["files"]]
    missing = [path for path in paths if not os.path.isfile(path)]
    if missing:
        return {**described, "missing": True, "problem": missing_file(missing[0])}
    if model["is_class"]:
        return {**described, "backends": ["python"], "usable": ["python"]}
    encrypted = False
    try:
        encrypted = any(is_encrypted(path) for path in paths)
        if encrypted and model["model_format"] is None:
            described["encrypted"] = True
            return {**described, "problem": "it is encrypted, so its format cannot be told without 'model_format'"}
        files = [ModelFile(path) for path in paths]
        formats, able = backends.able_backends(files, model["model_format"], model["backend"])
    except backends.BackendError as error:
        return {**described, "missing": not encrypted, "problem": str(error)}
    there = [name for name in able if name in usable]
    problem = None if there else f"none of the backends that run it can be used: {', '.join(able)}"
    return {
        **described,
        "encrypted": encrypted,
        "formats": formats,
        "backends": able,
        "usable": there,
        "missing": not there,
        "problem": problem,
    }


def _open_model(described: dict[str, Any], plan: ServablePlan) -> dict[str, Any]:
    """With what a worker would say of the files, which are opened in a process of their own."""
    from servoir.backends.native import trial_seconds

    if not described["usable"] or described["encrypted"]:
        return described
    command = [sys.executable, "-m", "servoir.cli.opened_model", plan.directory, plan.name, str(plan.version)]
    records, failure = _core.run_trial([*command, described["name"]], _OPENING * trial_seconds())
    said = dict(records)
    if "opened" in said:
        return {**described, **json.loads(said["opened"])}
    problem = f"opening it {failure}" if failure else said["failed"]
    return {**described, "missing": True, "problem": problem}


# ---- showing --------------------------------------------------------------------------------------------------------


def _shown(report: dict[str, Any]) -> list[str]:
    lines = [f"Servoir {report['servoir']}, Python {report['python']}, {report['cores']:g} usable cores", ""]
    rows = [("backend", "version", "tested", "devices", "found")]
    rows += [
        (
            one["name"],
            _short(one["version"]) or "-",
            f"{('yes' if one['tested'] else 'no') if one['version'] else '-'} ({one['tested_versions']})",
            ", ".join(one["devices"]) or "-",
            (one["found"] or "-") if one["usable"] else "cannot be used",
        )
        for one in report["backends"]
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines += ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    for one in report["backends"]:
        if one["problem"] or one["refused"]:
            lines += ["", f"{one['name']}:" + (f" {one['problem']}" if one["problem"] else "")]
            lines += [f"  refused: {it['path']} ({it['place']}): {it['reason']}" for it in one["refused"]]
    for servable in report["servables"]:
        version = f", version {servable['version']}" if servable["version"] else ""
        lines += [
            "",
            f"servable {servable['path']}{version}" + (f": {servable['problem']}" if servable["problem"] else ""),
        ]
        if not servable["models"] and not servable["problem"]:
            lines.append("  it has no models: it needs no backend")
        lines += [f"  {_shown_model(model)}" for model in servable["models"]]
    return lines


def _short(version: str | None) -> str:
    """ "2026.4.1" of "2026.4.1-22982-e213a147257-releases/2026/4"."""
    return (version or "").partition("-")[0]


def _shown_model(model: dict[str, Any]) -> str:
    formats = f" ({', '.join(model['formats'])})" if model["formats"] else ""
    if model["missing"]:
        return f"model {model['name']}{formats}: MISSING: {model['problem']}"
    if model["problem"]:
        return f"model {model['name']}{formats}: {model['problem']}"
    if model["run_by"] is None:
        return f"model {model['name']}{formats}: can be run by {', '.join(model['usable'])}"
    refusals = f" (not by {'; '.join(model['refusals'])})" if model["refusals"] else ""
    return f"model {model['name']}{formats}: run by {model['run_by']}{refusals}"
