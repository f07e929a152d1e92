#!/usr/bin/env python3
"""Checks what no schema knows about this folder, with promtool and without a cluster.

Prometheus' configuration and rules are valid and pass rules_test.yaml; every alert is tested to fire and to keep quiet, and
has a runbook in docs/operations.md (and every runbook an alert); every expression of every dashboard is PromQL, every panel
is described, none covers another; and every metric that is asked for is one that docs/telemetry.md lists and the code makes.

promtool is the one in PATH, or else that of Debian's package `prometheus`, unpacked into .tael/promtool.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
RUNBOOKS = "https://github.com/tael/tael/blob/main/docs/operations.md"

# Metrics of others: of Prometheus, the collectors, cert-manager, PostgreSQL's operator and its plugin for backups (those that
# its documentation names), and what samplers make of the traces that they keep.
FOREIGN = re.compile(
    r"^(up|ALERTS|otelcol_\w+|prometheus_\w+|certmanager_\w+|kept_(calls_total|duration_seconds_bucket)"
    r"|cnpg_collector_pg_wal|cnpg_pg_stat_archiver_last_(archived|failed)_time|cnpg_pg_replication_streaming_replicas"
    r"|barman_cloud_cloudnative_pg_io_last_available_backup_timestamp)$"
)

problems = []


def problem(what):
    problems.append(what)


def promtool():
    found = shutil.which("promtool")
    if found:
        return found
    folder = ROOT / ".tael" / "promtool"
    tool = folder / "usr" / "bin" / "promtool"
    if not tool.exists():
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["apt-get", "download", "-qq", "prometheus"], cwd=folder, check=True)
        package = next(folder.glob("prometheus_*.deb"))
        subprocess.run(["dpkg", "-x", str(package), str(folder)], check=True)
        package.unlink()
    return str(tool)


def run(*arguments):
    done = subprocess.run([TOOL, *map(str, arguments)], cwd=HERE / "prometheus", capture_output=True, text=True)
    if done.returncode:
        problem(f"promtool {' '.join(map(str, arguments))}:\n{done.stdout}{done.stderr}")


def check_configuration():
    """Prometheus' own file, and the jobs that components add. Debian's promtool is older than `scrape_config_files` (2.43), so
    it does not see that line; a file of jobs is a configuration by itself."""
    configuration = (HERE / "prometheus" / "prometheus.yaml").read_text()
    line = re.compile(r"^scrape_config_files:\n  - /etc/prometheus-targets/\*\.scrape\n", re.MULTILINE)
    if not line.search(configuration):
        problem("prometheus.yaml: it does not read the jobs that components add")
    with tempfile.NamedTemporaryFile("w", suffix=".yaml", dir=HERE / "prometheus") as file:
        file.write(line.sub("", configuration))
        file.flush()
        run("check", "config", file.name)
    for file in sorted(HERE.glob("*/*.scrape")):
        run("check", "config", file)


def alerts():
    """The alerts' names, and their runbooks."""
    found = {}
    for file in sorted((HERE / "prometheus" / "rules").glob("*.yaml")):
        for block in re.split(r"\n      - (?=alert: |record: )", file.read_text())[1:]:
            name = re.match(r"alert: (\w+)", block)
            if name:
                runbook = re.search(r"runbook_url: (\S+)", block)
                found[name[1]] = runbook and runbook[1]
    return found


def check_alerts():
    found = alerts()
    tests = (HERE / "prometheus" / "rules_test.yaml").read_text()
    handbook = (ROOT / "docs" / "operations.md").read_text()
    runbooks = set(re.findall(r"^### (Tael\w+)$", handbook, re.MULTILINE))
    for name, runbook in found.items():
        if runbook != f"{RUNBOOKS}#{name.lower()}":
            problem(f"{name}: its runbook_url is not {RUNBOOKS}#{name.lower()}")
        if name not in runbooks:
            problem(f"{name}: docs/operations.md has no runbook of it")
        asked = rf'expr: ALERTS\{{alertname="{name}", alertstate="firing"\}}\n        eval_time: \S+\n        exp_samples:'
        if not re.search(asked + r"\n", tests):
            problem(f"{name}: no test in which it fires")
        if not re.search(asked + r" \[\]\n", tests):
            problem(f"{name}: no test in which it keeps quiet")
    for name in sorted(runbooks - set(found)):
        problem(f"docs/operations.md has a runbook of {name}, which is no alert")
    return len(found)


def overlap(a, b):
    return a["x"] < b["x"] + b["w"] and b["x"] < a["x"] + a["w"] and a["y"] < b["y"] + b["h"] and b["y"] < a["y"] + a["h"]


def check_panel(where, panel):
    if panel["type"] == "row":
        return []
    for field in ("title", "description"):
        if not panel.get(field):
            problem(f"{where}: no {field}")
    if panel.get("datasource") != {"type": "prometheus", "uid": "${datasource}"}:
        problem(f"{where}: its datasource is not the dashboard's variable")
    if not panel["fieldConfig"]["defaults"].get("unit"):
        problem(f"{where}: no unit")
    if not panel.get("targets"):
        problem(f"{where}: it asks for nothing")
    return [target["expr"] for target in panel.get("targets", [])]


def check_dashboards():
    """Returns all expressions."""
    expressions, uids = [], set()
    for file in sorted((HERE / "grafana" / "dashboards").glob("*.json")):
        dashboard = json.loads(file.read_text())
        if dashboard["uid"] in uids:
            problem(f"{file.name}: its uid is another's")
        uids.add(dashboard["uid"])
        if dashboard["schemaVersion"] < 42:
            problem(f"{file.name}: an old schemaVersion")
        panels = dashboard["panels"]
        if len({panel["id"] for panel in panels}) < len(panels):
            problem(f"{file.name}: two panels have one id")
        known = {variable["name"] for variable in dashboard["templating"]["list"]}
        for variable in dashboard["templating"]["list"]:
            for other in set(re.findall(r"\$(\w+)", json.dumps(variable.get("query")))) - known:
                problem(f"{file.name}: ${variable['name']}: nobody defines ${other}")
        for at, panel in enumerate(panels):
            where = f"{file.name}: {panel['title'] or panel['id']}"
            if any(overlap(panel["gridPos"], other["gridPos"]) for other in panels[:at]):
                problem(f"{where}: it covers another panel")
            for expression in check_panel(where, panel):
                for variable in set(re.findall(r"\$(\w+)", expression)) - known - {"__rate_interval"}:
                    problem(f"{where}: nobody defines ${variable}")
                expressions.append(re.sub(r"\$\w+", ".+", expression.replace("$__rate_interval", "5m")))
    return expressions


def check_promql(expressions):
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        rules = [{"record": f"dashboard:{number}", "expr": text} for number, text in enumerate(expressions)]
        json.dump({"groups": [{"name": "dashboards", "rules": rules}]}, file)
        file.flush()
        run("check", "rules", file.name)


def told():
    """The metrics of docs/telemetry.md, by their names in Prometheus, as far as the code knows their names. (That the processes
    tell each one listed there is a test of theirs.)"""
    sources = [file.read_text() for folder in ("libs", "services") for file in (ROOT / folder).glob("*/src/**/*.rs")]
    row = re.compile(r"^\| `([a-z_.]+)` \| `([a-z_]+?)(_\*)?` \| (?:histogram|gauge|counter|up-down counter)", re.MULTILINE)
    names = set()
    for name, prometheus, is_histogram in row.findall((ROOT / "docs" / "telemetry.md").read_text()):
        if not any(f'"{name}"' in source for source in sources):
            problem(f"docs/telemetry.md: {name}: no code makes it")
        names |= {f"{prometheus}_{part}" for part in ("bucket", "count", "sum")} if is_histogram else {prometheus}
    return names


def check_metrics(expressions):
    """Whatever is asked for, somebody tells: our code, or who is known to."""
    for file in (HERE / "prometheus" / "rules").glob("*.yaml"):
        for block in re.findall(r"^        expr: (.*(?:\n {10,}.*)*)", file.read_text(), re.MULTILINE):
            expressions = expressions + [block]
    known = told()
    asked = set()
    for expression in expressions:
        bare = re.sub(r'"[^"]*"', "", expression)
        bare = re.sub(r"\b(by|ignoring|on|group_left|without) *\([^)]*\)", "", bare)
        bare = re.sub(r"\{[^}]*\}", "", bare)
        asked |= set(re.findall(r"(?<![\w:])([a-z]+(?:_[a-z0-9]+)+)(?![\w:(])", bare))
    functions = {"histogram_quantile", "absent_over_time", "max_over_time", "group_left"}
    for name in sorted(asked - functions - known):
        if not FOREIGN.match(name):
            problem(f"{name}: nobody tells it")
    return len(asked)


TOOL = promtool()
check_configuration()
run("test", "rules", "rules_test.yaml")
alert_count = check_alerts()
expressions = check_dashboards()
check_promql(expressions)
metric_count = check_metrics(expressions)
for text in problems:
    print(f"observability: {text}", file=sys.stderr)
if problems:
    sys.exit(1)
print(f"observability: {alert_count} alerts tested and explained, {len(expressions)} expressions of dashboards and "
      f"{metric_count} metrics checked")
