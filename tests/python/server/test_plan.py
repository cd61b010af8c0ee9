"""From configs to plans: directories, versions, merged configs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from servoir.server.config import ServableStartConfig
from servoir.server.plan import make_plans


@pytest.fixture
def models(tmp_path: Path) -> Path:
    for name, versions in (("add", ["1", "2", "10", "0", "x9", "007"]), ("plain", [])):
        servable = tmp_path / name
        servable.mkdir()
        (servable / "servable_config.py").touch()
        for version in versions:
            (servable / version).mkdir()
    (tmp_path / "add" / "11").touch()
    return tmp_path


def config(models: Path, name: str, **keywords: Any) -> ServableStartConfig:
    return ServableStartConfig(str(models), name, **keywords)


def test_the_newest_version_is_taken(models: Path) -> None:
    plans, warnings = make_plans([config(models, "add"), config(models, "plain")])
    assert [(plan.name, plan.version) for plan in plans] == [("add", 10), ("plain", 1)]
    assert len(warnings) == 1
    assert "'007'" in warnings[0]


def test_a_given_version_is_taken(models: Path) -> None:
    plans, _ = make_plans([config(models, "add", version_number=2), config(models, "plain", version_number=5)])
    assert [(plan.name, plan.version) for plan in plans] == [("add", 2), ("plain", 5)]


def test_configs_of_one_version_are_merged(models: Path) -> None:
    plans, _ = make_plans(
        [
            config(models, "add", device_ids=(1, 0), num_parallel_workers=3),
            config(models, "add", version_number=2, device_ids=1),
            config(models, "add", version_number=10, device_ids=(0, 2), num_parallel_workers=2),
        ]
    )
    assert [(plan.version, plan.device_ids, plan.parallel_workers) for plan in plans] == [
        (10, (1, 0, 2), 3),
        (2, (1,), 0),
    ]


@pytest.mark.parametrize(
    ("keywords", "device_workers", "extra", "with_models"),
    [
        ({}, 0, 1, 1),
        ({"num_parallel_workers": 3}, 0, 3, 3),
        ({"device_ids": 0}, 1, 0, 1),
        ({"device_ids": (0, 1), "num_parallel_workers": 2}, 2, 0, 2),
        ({"device_ids": (0, 1), "num_parallel_workers": 1}, 2, 0, 2),
        ({"device_ids": (0, 1), "num_parallel_workers": 5}, 2, 3, 2),
    ],
)
def test_how_many_workers(
    models: Path, keywords: dict[str, Any], device_workers: int, extra: int, with_models: int
) -> None:
    ((plan,), _) = make_plans([config(models, "add", **keywords)])
    assert (len(plan.device_ids), plan.extra_workers, plan.model_workers) == (device_workers, extra, with_models)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"dec_key": b"k" * 16}, {}),
        ({}, {"dec_key": b"k" * 16}),
        ({}, {"dec_mode": "AES-CBC"}),
        ({"device_type": "CPU"}, {"device_type": "None"}),
    ],
    ids=["a key and none", "none and a key", "dec_mode", "device_type"],
)
def test_configs_that_do_not_agree(models: Path, first: dict[str, Any], second: dict[str, Any]) -> None:
    with pytest.raises(RuntimeError, match=f"'add', version 10.*'{next(iter(first | second))}' differ"):
        make_plans([config(models, "add", **first), config(models, "add", **second)])


@pytest.mark.parametrize("types", [("CPU", None), (None, "CPU"), ("cpu", "CPU")])
def test_a_device_type_in_one_of_the_configs_is_enough(models: Path, types: tuple[str | None, str | None]) -> None:
    ((plan,), _) = make_plans([config(models, "add", device_type=kind) for kind in types])
    assert plan.device_type == "cpu"


@pytest.mark.parametrize("name", ["a/b", "../models/add", "..", ".", "add.v2"])
def test_a_name_is_that_of_one_directory(models: Path, name: str) -> None:
    with pytest.raises(RuntimeError, match="'servable_name' should be the name of one directory"):
        make_plans([config(models, name)])


def test_the_largest_version(models: Path) -> None:
    ((plan,), _) = make_plans([config(models, "plain", version_number=2**64 - 1)])
    assert plan.version == 2**64 - 1
    with pytest.raises(RuntimeError, match=f"'version_number' of servable 'plain'.*{2**64 - 1}"):
        make_plans([config(models, "plain", version_number=2**64)])


def test_what_is_not_there(models: Path) -> None:
    with pytest.raises(RuntimeError, match="'missing': there is no directory"):
        make_plans([config(models, "missing")])
    (models / "empty").mkdir()
    with pytest.raises(RuntimeError, match=r"'empty': there is no file .*servable_config\.py"):
        make_plans([config(models, "empty")])


def test_one_name_has_one_directory(models: Path, tmp_path: Path) -> None:
    """Found out before the second directory is looked for."""
    with pytest.raises(RuntimeError, match="'add' is to be started from two directories"):
        make_plans([config(models, "add"), config(tmp_path / "nowhere", "add")])


def test_a_key_is_not_in_the_text_of_a_plan(models: Path) -> None:
    ((plan,), _) = make_plans([config(models, "add", dec_key=b"secret-secret-16")])
    assert "secret" not in repr(plan)
