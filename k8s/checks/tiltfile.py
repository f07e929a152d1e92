"""Evaluates a Tiltfile without Tilt and without a cluster, and compares it with what it deploys.

The functions are stand-ins that take what Tilt's take (https://docs.tilt.dev/api.html), so that a misspelt argument fails
here as it would there. Nothing is fetched (`load` is refused) and nothing is run but `kubectl kustomize`.

    tiltfile.py [TILTFILE] [-- ARGUMENTS]     the Tiltfile's own arguments, as after `tilt up --`

It fails when: an image is built that no workload uses, or a workload uses one of ours that nobody builds; k8s_resource
names what is not deployed; a resource waits for one that there is none of, or for itself; a port is forwarded to that no
container has; a resource has no label; a path that is read, watched or built from does not exist.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

import starlark
import yaml

ROOT = Path(__file__).resolve().parents[2]
KUBECTL = ROOT / ".tael/k8s/bin/kubectl"
WORKLOADS = ("CronJob", "DaemonSet", "Deployment", "Job", "StatefulSet")

# Tilt's functions with their arguments. Each records its call; the arguments' names and number are checked by Starlark.
# `yaml` and `json` are texts here where Tilt has blobs.
API = """
def allow_k8s_contexts(contexts): pass
def analytics_settings(enable): pass
def blob(contents): return contents
def ci_settings(k8s_grace_period="", timeout="30m", readiness_timeout="5m"): pass
def custom_build(ref, command, deps, tag="", disable_push=False, skips_local_docker=False, live_update=[], match_in_env_vars=False, ignore=[], entrypoint=[], container_args=None, command_bat_val="", outputs_image_ref_to="", command_bat="", image_deps=[], env={}, dir=""):
    _call("custom_build", ref=ref, command=command, paths=deps, live_update=live_update)
def decode_json(json): return _native("json", json)
def decode_yaml(yaml): return _native("yaml", yaml)
def decode_yaml_stream(yaml): return _native("yaml stream", yaml)
def default_registry(host, host_from_cluster=None, single_name=""): pass
def docker_build(ref, context, build_args={}, dockerfile="Dockerfile", dockerfile_contents="", live_update=[], match_in_env_vars=False, ignore=[], only=[], entrypoint=[], target="", ssh="", network="", secret="", extra_tag="", container_args=None, cache_from=[], pull=False, platform="", extra_hosts=[]):
    _call("docker_build", ref=ref, paths=[context] + ([] if dockerfile_contents else [dockerfile]), build_args=build_args, target=target, live_update=live_update)
def docker_prune_settings(disable=False, max_age_mins=360, num_builds=0, interval_hrs=1, keep_recent=2): pass
def encode_json(obj): return _native("to json", obj)
def encode_yaml(obj): return _native("to json", obj)
def encode_yaml_stream(objs): return _native("to yaml stream", objs)
def exec_action(command): return {"exec": command}
def fall_back_on(files): return {"fall_back_on": files}
def filter_yaml(yaml, labels=None, name=None, namespace=None, kind=None, api_version=None): fail("filter_yaml has no stand-in yet")
def http_get_action(port, host="localhost", scheme="http", path=""): return {"port": port}
def initial_sync(): return {"initial_sync": True}
def k8s_custom_deploy(name, apply_cmd, delete_cmd, deps, image_selector="", live_update=[], apply_dir="", apply_env={}, apply_cmd_bat="", delete_dir="", delete_env={}, delete_cmd_bat="", container_selector="", image_deps=[]): fail("k8s_custom_deploy has no stand-in yet")
def k8s_kind(kind, api_version=None, *, image_json_path=[], image_object=None, pod_readiness=""): pass
def k8s_resource(workload="", new_name="", port_forwards=[], extra_pod_selectors=[], trigger_mode="auto", resource_deps=[], objects=[], auto_init=True, pod_readiness="", links=[], labels=[], discovery_strategy=""):
    _call("k8s_resource", workload=workload, new_name=new_name, port_forwards=port_forwards, resource_deps=resource_deps, objects=objects, labels=labels)
def k8s_yaml(yaml, allow_duplicates=False): _call("k8s_yaml", yaml=yaml)
def kustomize(pathToDir, kustomize_bin=None, flags=[]): return _native("kustomize", pathToDir)
def link(url, name=None): return {"url": url, "name": name}
def local(command, quiet=False, command_bat="", echo_off=False, env={}, dir="", stdin=None):
    _call("local", command=command)
    return ""
def local_resource(name, cmd="", deps=None, trigger_mode="auto", resource_deps=[], ignore=[], auto_init=True, serve_cmd="", cmd_bat="", serve_cmd_bat="", allow_parallel=False, links=[], labels=[], env={}, serve_env={}, readiness_probe=None, dir="", serve_dir=""):
    _call("local_resource", name=name, cmd=cmd, serve_cmd=serve_cmd, paths=deps or [], resource_deps=resource_deps, labels=labels)
def port_forward(local_port, container_port=None, name=None, link_path=None, host=None): return {"local": local_port, "container": container_port}
def probe(initial_delay_secs=0, timeout_secs=1, period_secs=10, success_threshold=1, failure_threshold=3, exec=None, http_get=None, tcp_socket=None): return {}
def read_file(file_path, default=None): return _native("read", [file_path, default])
def read_yaml(path, default=None): return _native("yaml", _native("read", [path, default]))
def read_yaml_stream(path, default=None): return _native("yaml stream", _native("read", [path, default]))
def run(cmd, trigger=[], echo_off=False): return {"run": cmd}
def secret_settings(disable_scrub=False): pass
def set_team(team_id): pass
def sync(local_path, remote_path): return {"sync": [local_path, remote_path]}
def tcp_socket_action(port, host="localhost"): return {"port": port}
def trigger_mode(trigger_mode): pass
def update_settings(max_parallel_updates=3, k8s_upsert_timeout_secs=30, suppress_unused_image_warnings=None, k8s_server_side_apply="auto"): pass
def version_settings(check_updates=True, constraint=""): pass
def warn(msg): pass
def watch_file(file_path): _call("watch_file", paths=[file_path])
def watch_settings(ignore): pass

def _define(name, args=False, usage=""): _call("config", name=name)
config = struct(
    define_bool=_define, define_string=_define, define_string_list=_define,
    parse=lambda: _native("arguments", None),
    set_enabled_resources=lambda resources: _call("enabled", resources=resources),
    clear_enabled_resources=lambda: None,
    tilt_subcommand=_native("subcommand", None), main_path="Tiltfile", main_dir=".",
)
def _getenv(key, default=""): return default
def _putenv(key, value): pass
os = struct(
    getcwd=lambda: ".", getenv=_getenv, putenv=_putenv, environ={}, name="posix",
    path=struct(exists=lambda path: _native("exists", path), basename=lambda path: path.split("/")[-1]),
)
TRIGGER_MODE_AUTO = "auto"
TRIGGER_MODE_MANUAL = "manual"
"""


class Evaluation:
    """One run of a Tiltfile: what it has called."""

    def __init__(self, file, subcommand, arguments):
        self.file, self.subcommand, self.arguments = file, subcommand, arguments
        self.calls = []

    def call(self, function, **arguments):
        self.calls.append((function, arguments))

    def native(self, what, value):
        if what == "kustomize":
            command = [str(KUBECTL) if KUBECTL.exists() else "kubectl", "kustomize", str(ROOT / value)]
            return subprocess.run(command, check=True, capture_output=True, text=True).stdout
        if what == "read":
            path = ROOT / value[0]
            return path.read_text() if value[1] is None or path.exists() else value[1]
        if what == "exists":
            return (ROOT / value).exists()
        if what == "yaml stream":
            return [item for item in yaml.safe_load_all(value) if item is not None]
        if what == "to yaml stream":
            return yaml.safe_dump_all(value)
        return {
            "arguments": lambda: self.arguments,
            "json": lambda: json.loads(value),
            "subcommand": lambda: self.subcommand,
            "to json": lambda: json.dumps(value),
            "yaml": lambda: yaml.safe_load(value),
        }[what]()

    def of(self, *functions):
        return [(function, arguments) for function, arguments in self.calls if function in functions]

    def run(self):
        dialect = starlark.Dialect.extended()
        dialect.enable_load = True
        dialect.enable_keyword_only_arguments = True
        extensions = [starlark.LibraryExtension.StructType, starlark.LibraryExtension.Print]
        known = starlark.Globals.extended_by(extensions)
        module = starlark.Module()
        module.add_callable("_call", self.call)
        module.add_callable("_native", self.native)
        starlark.eval(module, starlark.parse("Tilt's functions", API, dialect), known)
        refuse = starlark.FileLoader(self.refuse)
        starlark.eval(module, starlark.parse(str(self.file), self.file.read_text(), dialect), known, refuse)

    @staticmethod
    def refuse(name):
        raise ValueError(f"load({name!r}): nothing is fetched")


def texts(value):
    return [value] if isinstance(value, str) else list(value or [])


def template(item):
    spec = item["spec"].get("jobTemplate", item)["spec"] if item["kind"] == "CronJob" else item["spec"]
    return spec["template"]["spec"]


def name_of_image(image):
    return re.sub(r"(@.*|:[^/:]*)$", "", image)


def problems(evaluation):
    """What is wrong with a Tiltfile that could be evaluated."""
    deployed = []
    for _, call in evaluation.of("k8s_yaml"):
        for text in texts(call["yaml"]):
            deployed += [item for item in yaml.safe_load_all(text if "\n" in text else (ROOT / text).read_text()) if item]
    workloads = {item["metadata"]["name"]: item for item in deployed if item["kind"] in WORKLOADS}
    if not workloads:
        yield "nothing is deployed"

    containers = [(name, container) for name, item in workloads.items()
                  for field in ("initContainers", "containers") for container in template(item).get(field, [])]
    built = {call["ref"] for _, call in evaluation.of("docker_build", "custom_build")}
    used = {name_of_image(container["image"]) for _, container in containers}
    for image in sorted(built - used):
        yield f"the image {image} is built, and no workload uses it"
    for image in sorted(image for image in used - built if image.startswith("tael/")):
        yield f"the image {image} is used, and nobody builds it"

    resources = [call for _, call in evaluation.of("k8s_resource")]
    locals_ = [call for _, call in evaluation.of("local_resource")]
    names = {call["name"] for call in locals_}
    renamed = {call["workload"]: call["new_name"] for call in resources if call["workload"] and call["new_name"]}
    names |= {renamed.get(name, name) for name in workloads}
    names |= {call["new_name"] for call in resources if not call["workload"]}
    objects = {f"{item['metadata']['name']}:{item['kind'].lower()}" for item in deployed}
    labelled = {call["name"] for call in locals_ if call["labels"]}
    for call in resources:
        name = call["new_name"] or call["workload"]
        if call["workload"] and call["workload"] not in workloads:
            yield f"k8s_resource {name}: there is no workload {call['workload']}"
        if not call["workload"] and not call["objects"]:
            yield f"k8s_resource {name}: it is of nothing"
        for one in set(texts(call["objects"])) - objects:
            yield f"k8s_resource {name}: there is no object {one}"
        if call["labels"]:
            labelled.add(name)
        forwards = call["port_forwards"] if isinstance(call["port_forwards"], list) else [call["port_forwards"]]
        ports = {port["containerPort"] for owner, container in containers if owner == call["workload"]
                 for port in container.get("ports", [])}
        for forward in forwards:
            if isinstance(forward, dict):
                port = forward["container"] or forward["local"]
            else:
                port = int(str(forward).split(":")[-1])
            if port not in ports:
                yield f"k8s_resource {name}: no container has the port {port}"
    waits = {}
    for call in resources + locals_:
        name = call.get("name") or call["new_name"] or call["workload"]
        waits.setdefault(name, set()).update(texts(call["resource_deps"]))
        for other in set(texts(call["resource_deps"])) - names:
            yield f"{name}: waits for {other}, which there is none of"
    for name in names:
        if name in reachable(waits, name):
            yield f"{name}: waits for itself"
    for name in sorted(names - labelled):
        yield f"{name}: has no label"
    for _, call in evaluation.of("enabled"):
        for name in set(texts(call["resources"])) - names:
            yield f"the resource {name} is asked for, and there is none of it"

    made = "".join(json.dumps(call["command"]) for _, call in evaluation.of("local"))
    for function, call in evaluation.of("docker_build", "custom_build", "local_resource", "watch_file"):
        for path in texts(call["paths"]):
            if not (ROOT / path).exists() and path not in made and path != ".cargo":
                yield f"{function} {call.get('ref') or call.get('name', '')}: {path} does not exist"
    for _, call in evaluation.of("docker_build"):
        dockerfile = (ROOT / call["paths"][-1]).read_text()
        for argument in set(call["build_args"]) - set(re.findall(r"^ARG (\w+)", dockerfile, re.MULTILINE)):
            yield f"docker_build {call['ref']}: {call['paths'][-1]} has no ARG {argument}"
        if call["target"] and not re.search(rf"^FROM \S+ AS {call['target']}$", dockerfile, re.MULTILINE):
            yield f"docker_build {call['ref']}: {call['paths'][-1]} has no stage {call['target']}"
    for _, call in evaluation.of("local_resource"):
        for program in re.findall(r"(?:^|\s)((?:tilt|scripts)/[\w./-]+)", " ".join(texts(call["cmd"]) + texts(call["serve_cmd"]))):
            if not (ROOT / program).exists():
                yield f"local_resource {call['name']}: {program} does not exist"


def reachable(waits, start):
    found, todo = set(), list(waits.get(start, ()))
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo += waits.get(name, ())
    return found


def check(file, subcommand, arguments):
    evaluation = Evaluation(file, subcommand, arguments)
    try:
        evaluation.run()
        found = list(problems(evaluation))
    except (starlark.StarlarkError, ValueError, subprocess.CalledProcessError) as error:
        found = [f"{error}\n{getattr(error, 'stderr', '') or ''}".strip()]
    return evaluation, found


def main(arguments):
    file = Path(arguments[0]) if arguments else ROOT / "Tiltfile"
    ways = [("up", {}), ("ci", {})]
    if not arguments:
        ways += [
            ("up", {"release": True}),
            ("up", {"build-in-image": True}),
            ("ci", {"build-in-image": True}),
            ("up", {"import-command": "tilt/import.sh", "allow-context": "somewhere"}),
            ("up", {"resources": ["order", "payment"]}),
        ]
    bad = False
    for subcommand, given in ways:
        evaluation, found = check(file, subcommand, given)
        for problem in found:
            print(f"{file.name}, tilt {subcommand} {given or ''}: {problem}")
            bad = True
        if bad:
            return 1
        counts = [len(evaluation.of(*of)) for of in (("docker_build", "custom_build"), ("k8s_resource", "local_resource"))]
        print(f"{file.name}, tilt {subcommand} {given or ''}: {counts[0]} images, {counts[1]} resources")
    return 0


sys.exit(main(sys.argv[1:]))
