"""GET /metrics, read by the parsers of prometheus_client."""

from __future__ import annotations

import pytest
import requests
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_prometheus
from support import ROOT
from support.rest_client import post
from support.servers import ServerProcess, Start

# What Prometheus 3 sends.
SCRAPER = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


@pytest.fixture(scope="module")
def server(start_for_module: Start) -> ServerProcess:
    return start_for_module("plain", device_ids=0)


def scrape(server: ServerProcess, accept: str | None = None) -> dict[str, Metric]:
    headers = {} if accept is None else {"Accept": accept}
    answer = requests.get(f"http://{server.rest}/metrics", headers=headers, timeout=30)
    assert answer.status_code == 200
    if accept == SCRAPER:
        assert answer.headers["content-type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
        return {family.name: family for family in read_openmetrics(answer.text)}
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return {family.name: family for family in read_prometheus(answer.text)}


def value(families: dict[str, Metric], sample: str, **labels: str) -> float:
    """The sum over the samples of this name that have these labels."""
    return sum(
        one.value
        for family in families.values()
        for one in family.samples
        if one.name == sample and labels.items() <= one.labels.items()
    )


@pytest.mark.parametrize("accept", [None, SCRAPER])
def test_requests_and_instances_are_counted(server: ServerProcess, accept: str | None) -> None:
    before = scrape(server, accept)
    post(server, "plain:picky", [{"x": 1.0}, {"x": -1.0}, {"x": 2.0}])
    after = scrape(server, accept)

    def grown(sample: str, **labels: str) -> float:
        return value(after, sample, **labels) - value(before, sample, **labels)

    assert grown("servoir_requests_total") == 1
    whose = {"servable": "plain", "version": "1", "callee": "refuse_negative"}
    assert grown("servoir_callee_instances_total", **whose) == 3
    assert grown("servoir_callee_failed_instances_total", **whose) == 1
    assert grown("servoir_callee_batches_total", **whose) >= 1
    assert grown("servoir_callee_run_seconds_total", **whose) > 0
    assert grown("servoir_callee_instances_total") == 3, "nothing is counted elsewhere"
    assert value(after, "servoir_callee_queued_instances", **whose) == 0
    assert value(after, "servoir_connections") >= 1, "this one"
    assert value(after, "servoir_arena_used_bytes") <= value(after, "servoir_arena_peak_bytes")
    assert 0 < value(after, "servoir_arena_peak_bytes") <= value(after, "servoir_arena_limit_bytes")


def test_both_forms_tell_the_same_families(server: ServerProcess) -> None:
    older, newer = scrape(server), scrape(server, SCRAPER)
    assert list(older) == list(newer)
    for name, family in newer.items():
        assert (family.type, family.documentation) == (older[name].type, older[name].documentation)
        assert not family.unit or name.endswith(f"_{family.unit}")


def test_every_figure_is_in_the_documents(server: ServerProcess) -> None:
    page = (ROOT / "docs" / "protocols.md").read_text()
    figures = {one.name for family in scrape(server).values() for one in family.samples}
    assert [name for name in sorted(figures) if f"`{name}`" not in page] == []


def test_other_methods_are_refused(server: ServerProcess) -> None:
    answer = requests.post(f"http://{server.rest}/metrics", data="{}", timeout=30)
    assert answer.status_code == 405
    assert "GET" in answer.headers["allow"]
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert requests.head(f"http://{server.rest}/metrics", timeout=30).status_code == 200
