"""python -m servoir.cli.declared_models SERVABLE_DIRECTORY SERVABLE_NAME: started by `servoir doctor` only.

Imports a servable's configuration as a worker would, and reports on descriptor 3 what models it declares: a record
"model JSON" for each, or "failed TEXT"; see discovery/trial_report.h. It is a process of its own because the
configuration is code of the servable's author.
"""

from __future__ import annotations

import json
import sys

from servoir.backends.trial_program import Report

_DESCRIPTOR = 3


def main() -> None:
    report = Report(_DESCRIPTOR)
    directory, name = sys.argv[1:]

    from servoir.servable import declarations
    from servoir.servable.config_module import import_config

    declared = declarations.begin()
    try:
        import_config(directory, name)
        declared.check_complete(name)
    except BaseException as error:  # a SystemExit of the configuration is a failure as well
        report.tell("failed", f"{type(error).__name__}: {error}")
    else:
        for model in declared.models.values():
            is_class = isinstance(model.backend, type)
            described = {
                "name": model.key,
                "files": list(model.files),
                "model_format": model.model_format,
                "backend": "python" if is_class else model.backend,
                "is_class": is_class,
            }
            report.tell("model", json.dumps(described))
    report.end()


if __name__ == "__main__":
    main()
