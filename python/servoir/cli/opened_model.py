"""python -m servoir.cli.opened_model SERVABLE_DIRECTORY SERVABLE_NAME VERSION MODEL: started by `servoir doctor` only.

Imports a servable's configuration, opens one of its models and tries it as a worker would, and reports on descriptor 3
"opened JSON" or "failed TEXT"; see discovery/trial_report.h. It is a process of its own because runtimes
may crash on a file.
"""

from __future__ import annotations

import json
import sys

from servoir.backends.trial_program import Report

_DESCRIPTOR = 3


def main() -> None:
    report = Report(_DESCRIPTOR)
    directory, name, version, key = sys.argv[1:]

    from servoir import _core
    from servoir.control.messages import Load
    from servoir.servable import declarations
    from servoir.servable.config_module import import_config
    from servoir.worker import models

    load = Load(
        servable_directory=directory,
        name=name,
        version=int(version),
        device_id=None,
        device_type=None,
        loads_models=True,
        usable_cores=_core.usable_cores(),
        sharing_workers=1,
        threads=None,
        spec=None,
        dec_key=None,
        dec_mode="AES-GCM",
    )
    declared = declarations.begin()
    try:
        import_config(directory, name)
        threads = models.threads_per_model(load, len(declared.models))
        [model] = [model for model in declared.models.values() if model.key == key]
        opened = models.open_one(model, load, threads, None, lambda message: None)
    except BaseException as error:  # a SystemExit of the configuration is a failure as well
        report.tell("failed", str(error) if isinstance(error, RuntimeError) else f"{type(error).__name__}: {error}")
    else:
        report.tell("opened", json.dumps({"run_by": opened.backend, "refusals": opened.refusals}))
    report.end()


if __name__ == "__main__":
    main()
