"""HAProxy beside each engine, which answers on localhost alone: its configuration, its container, its keys.

vLLM's own key leaves paths open, and some of its paths change or stop the engine. Here every path but the listed ones
is shut, and every request but a probe carries a key. The text is for HAProxy from 2.6 on; 2.6 and 3.0 are tested.
"""

from __future__ import annotations

import json
from typing import Any

from vlmctl.serving import host, kubernetes

IMAGE = "docker.io/library/haproxy:3.0"  # a branch with long-term support, which Debian 13 has too and tests run
NAME = "proxy"
METRICS = "metrics"  # name of the port
METRICS_PORT = 8082
METRICS_PATH = "/proxy/metrics"  # HAProxy's own; the engine's are under /metrics
ENGINE_HOST = "127.0.0.1"
ENGINE_PORT = 8001
CONFIG_FOLDER = "/etc/vlmctl"
CONFIG_FILE = "haproxy.cfg"
KEYS_FILE = "api_keys.lua"
KEY_FOLDER = "/etc/api-key"
KEY_NAME = "api-key"  # of the file with the keys, a line each
KEY_VOLUME = "api-key"
UID = 99  # the image's own unprivileged user `haproxy` (docker-library/haproxy, Dockerfile)
READ_KEYS_SECONDS = 5  # between looks at the file; the kubelet writes a changed Secret 60 to 90 s later

INFERENCE = ("/v1/chat/completions", "/v1/completions", "/v1/responses")  # paths that make tokens
LISTS = ("/v1/models",)
HEALTH = "/health"  # of the engine
PROBES = (HEALTH, "/ping")  # open to all: load balancers ask them
BODY_BYTES = 128 * 1024**2  # more than twice the 50 MB that OpenAI's API takes (its guide to images)
BACKEND = "inference"  # of requests that make tokens: its counts are the load
CONNECTIONS = 2000  # of clients at once; 34 KiB each were measured with HAProxy 2.6, while bodies arrive
SPARE_CONNECTIONS = 64  # beside them: whoever fills port 8000 keeps neither the kubelet nor the scaler from asking
RESOURCES = {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}}
READY_SECONDS = 5

# Text that is answered: OpenAI's form of an error, which its clients show.
_ANSWERS = {
    400: ("invalid_request_error", "bad_request", "The request is not valid HTTP, or its headers are too long."),
    401: ("invalid_request_error", "invalid_api_key", "Give a valid API key as `Authorization: Bearer KEY`."),
    404: ("invalid_request_error", "unknown_url", "There is no such path here."),
    405: ("invalid_request_error", "method_not_supported", "This path does not take this method."),
    408: ("invalid_request_error", "timeout", "The request did not arrive in time."),
    411: ("invalid_request_error", "length_required", "Say the length of the body in Content-Length, not in chunks."),
    413: ("invalid_request_error", "too_large", f"A body here has {BODY_BYTES // 1024**2} MiB at most; of GET, none."),
    502: ("server_error", "bad_gateway", "The engine ended while it answered."),
    503: ("server_error", "unavailable", "The engine does not take requests at the moment."),
    504: ("server_error", "timeout", "The engine did not answer in time."),
}
_OF_THE_PROXY = (400, 408, 502, 503, 504)  # answered without a rule of ours

_CONFIG = """\
global
    log stdout format raw daemon
    maxconn {all_connections}
    nbthread 1
    lua-load {folder}/{keys_file}

defaults
    mode http
    log global
    # Failures alone, without what a query or a header may hold.
    option dontlog-normal
    log-format "%ci %ft %b/%s %ST %TR/%Tw/%Tc/%Tr/%Ta %B %ts %HM %HPO"
    # No idle connection is kept. The engine closes its own, and a request would meet the end of one; and those of
    # clients lead to this replica for as long as they are used, whatever others there are by then.
    option httpclose
    option http-no-delay
    # Who leaves before the answer begins gives the engine its slot back.
    option abortonclose
    retries 0
    timeout connect 5s
    timeout http-request 30s
    # Without a byte to or from a client; without one of the engine, whose queue may be long.
    timeout client 5m
    timeout server 1h
{errors}

frontend api
    bind :{port} proto h1
    maxconn {connections}
    acl is_inference path -m str {inference}
    acl is_list path -m str {lists}
    acl is_probe path -m str {probes}
    acl has_key http_auth_bearer,lua.known_key -m str yes
    # Of an engine that loads they fail for minutes.
    http-request set-log-level silent if is_probe
    {deny_401} unless is_probe or has_key
    {deny_404} unless is_inference or is_list or is_probe
    {deny_405} hdr Allow POST if is_inference !METH_POST
    {deny_405} hdr Allow GET if !is_inference !METH_GET
    {deny_411} if METH_POST !{{ req.hdr_cnt(content-length) eq 1 }}
    {deny_411} if {{ req.hdr_cnt(transfer-encoding) gt 0 }}
    {deny_413} if !METH_POST {{ req.hdr_val(content-length) gt 0 }}
    {deny_413} if {{ req.hdr_val(content-length) gt {body_bytes} }}
{cleaned}
    http-response del-header server
    use_backend {backend} if is_inference
    default_backend engine

frontend metrics
    bind :{metrics_port} proto h1
    http-request use-service prometheus-exporter if {{ path {metrics_path} }} METH_GET
    http-request return status 200 if {{ path /proxy/health }} METH_GET
    # Of an engine that loads it fails for minutes.
    http-request set-log-level silent if {{ path {health} }}
    {deny_404} unless {{ path /metrics {health} }} METH_GET
    default_backend engine

backend {backend}
    server engine {engine}

backend engine
    server engine {engine}
"""

# What clients have no business to tell the engine, or what is none of its business.
_CLEANED = (
    "authorization",
    "proxy-authorization",
    "cookie",
    "forwarded",
    "x-real-ip",
    "x-data-parallel-rank",
    "upgrade",
)
_CLEANED_BEGINNINGS = ("x-forwarded-", "x-vlmctl-")

_KEYS = """\
-- The keys that requests may carry: the lines of a file, looked at again while requests run.
local FILE = "{file}"
local keys = {{}}

local function read()
  local file = io.open(FILE, "r")
  if file == nil then return end -- what was known holds
  local found = {{}}
  for line in file:lines() do
    local key = line:match("^%s*(.-)%s*$")
    if key ~= "" then found[key] = true end
  end
  file:close()
  keys = found
end

core.register_init(read)
core.register_task(function()
  while true do
    core.msleep({milliseconds})
    pcall(read) -- a file that cannot be read to its end stops nothing: the next look counts
  end
end)
core.register_converters("known_key", function(key) return keys[key] and "yes" or "no" end)
"""


def files() -> dict[str, str]:
    """What the proxy reads, by name: configuration and program, for a revision's ConfigMap."""
    return {CONFIG_FILE: configuration(), KEYS_FILE: keys_program()}


def configuration() -> str:
    """HAProxy's configuration."""
    return _CONFIG.format(
        connections=CONNECTIONS,
        all_connections=CONNECTIONS + SPARE_CONNECTIONS,
        folder=CONFIG_FOLDER,
        keys_file=KEYS_FILE,
        errors="\n".join(f"    http-error status {each} {_content(each)}" for each in _OF_THE_PROXY),
        port=host.PORT,
        metrics_port=METRICS_PORT,
        metrics_path=METRICS_PATH,
        health=HEALTH,
        backend=BACKEND,
        inference=" ".join(INFERENCE),
        lists=" ".join(LISTS),
        probes=" ".join(PROBES),
        body_bytes=BODY_BYTES,
        cleaned="\n".join(
            [f"    http-request del-header {each}" for each in _CLEANED]
            + [f"    http-request del-header {each} -m beg" for each in _CLEANED_BEGINNINGS]
        ),
        engine=f"{ENGINE_HOST}:{ENGINE_PORT}",
        **{f"deny_{each}": f"http-request return status {each} {_content(each)}" for each in (401, 404, 405, 411, 413)},
    )


def keys_program() -> str:
    """Lua: a key that is put beside another in the Secret, or taken out, counts without a restart."""
    return _KEYS.format(file=f"{KEY_FOLDER}/{KEY_NAME}", milliseconds=READ_KEYS_SECONDS * 1000)


def container(image: str, secret: str, key: str) -> dict[str, Any]:
    """A native sidecar: an init container that goes on running, and ends when the engine has.

    `secret`, `key`: of the Secret. As a variable, which nobody reads, it has the kubelet say in the pod's status that
    it is missing; a volume would be waited for without a word there.
    """
    command = ["haproxy", "-db", "-f", f"{CONFIG_FOLDER}/{CONFIG_FILE}"]
    # While endpoints leave the Service it takes requests as before; then nobody new is let in, and what is being
    # answered is answered.
    leave = f"sleep {host.BEFORE_STOP_SECONDS}; kill -USR1 1"
    return {
        "name": NAME,
        "image": image,
        "command": command,
        "restartPolicy": "Always",
        "env": [{"name": "API_KEY", "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}],
        "ports": [
            {"name": kubernetes.HTTP, "containerPort": host.PORT, "protocol": "TCP"},
            {"name": METRICS, "containerPort": METRICS_PORT, "protocol": "TCP"},
        ],
        "resources": RESOURCES,
        "readinessProbe": {
            "httpGet": {"path": "/proxy/health", "port": METRICS},
            "periodSeconds": READY_SECONDS,
            "timeoutSeconds": READY_SECONDS,
        },
        "lifecycle": {"preStop": {"exec": {"command": ["sh", "-c", leave]}}},
        "securityContext": {
            **kubernetes.UNPRIVILEGED,
            "readOnlyRootFilesystem": True,
            "runAsUser": UID,
            "runAsGroup": UID,
        },
        "volumeMounts": [
            {"name": "config", "mountPath": CONFIG_FOLDER, "readOnly": True},
            {"name": KEY_VOLUME, "mountPath": KEY_FOLDER, "readOnly": True},
        ],
    }


def key_volume(secret: str, key: str) -> dict[str, Any]:
    """The Secret's one key as a file, which follows the Secret while the pod runs."""
    items = [{"key": key, "path": KEY_NAME}]
    return {"name": KEY_VOLUME, "secret": {"secretName": secret, "items": items, "optional": True}}


def _content(status: int) -> str:
    """The answer's type and text, as HAProxy's configuration quotes it."""
    kind, code, message = _ANSWERS[status]
    body = json.dumps({"error": {"message": message, "type": kind, "param": None, "code": code}})
    return f"content-type application/json string '{body}'"
