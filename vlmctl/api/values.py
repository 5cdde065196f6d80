"""Values of fields, with the bounds that the API server and the records both hold them to.

Kubernetes' API has no floats, so quantities with a fraction are text. The bounds are generous, as only a planner knows
what can be served; they keep the cost of rules over texts and lists finite.
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from vlmctl.api.records import Rule

_NAME = r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?"  # of most objects: a DNS subdomain, at most 253 characters
_DOMAIN = r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?"  # the same, with its length: of a map's key a schema knows no other
_LABEL = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"  # a label's value, and its key behind the prefix

MAXIMUM_TOKENS = 100_000_000  # in one request
MAXIMUM_IMAGES = 100_000  # in one request
MAXIMUM_REPLICAS = 1000
FACTS_LENGTH = 65_536  # characters of one file
MAXIMUM_GPUS = 16  # of one replica, which is one pod: the largest nodes hold 8 or 16


def _checked(rule: str, message: str) -> dict[str, Any]:
    return {"x-kubernetes-validations": [Rule(rule, message)._asdict()]}


Duration = Annotated[
    str,
    Meta(
        pattern=r"^([0-9]{1,9}(\.[0-9]{1,6})?(ms|s)|[0-9]{1,6}(\.[0-9]{1,6})?(m|h))$",  # CEL: 1 ns to 292 years
        max_length=18,
        extra_json_schema=_checked("duration(self) > duration('0s')", "must be above 0, such as 50ms or 2s"),
    ),
]
ImageSize = Annotated[str, Meta(pattern=r"^[1-9][0-9]{0,4}x[1-9][0-9]{0,4}$", max_length=11)]  # pixels
Decimal = Annotated[str, Meta(pattern=r"^[0-9]{1,9}(\.[0-9]{1,9})?$", max_length=19)]
Share = Annotated[str, Meta(pattern=r"^(0(\.[0-9]{1,4})?|1(\.0{1,4})?)$", max_length=6)]
Quantity = (
    Annotated[int, Meta(ge=1)]
    | Annotated[str, Meta(pattern=r"^[0-9]{1,15}(\.[0-9]{1,9})?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$", max_length=27)]
)
# Figures that the operator answers with: whatever comes of a division, so without the bounds of what may be asked for.
Number = Annotated[str, Meta(pattern=r"^[0-9]+(\.[0-9]+)?$", max_length=64)]
Length = Annotated[str, Meta(pattern=r"^[0-9]+(\.[0-9]+)?(ms|s|m|h)$", max_length=64)]
Timestamp = Annotated[str, Meta(max_length=64, extra_json_schema={"format": "date-time"})]  # RFC 3339

ObjectName = Annotated[str, Meta(pattern=f"^{_NAME}$", max_length=253)]
SecretKeyName = Annotated[str, Meta(pattern=r"^[-._A-Za-z0-9]+$", max_length=253)]
LabelKey = Annotated[str, Meta(pattern=f"^({_DOMAIN}/)?{_LABEL}$", max_length=317)]
LabelValue = Annotated[str, Meta(pattern=f"^({_LABEL})?$", max_length=63)]
Labels = Annotated[dict[LabelKey, LabelValue], Meta(max_length=32)]
Annotations = Annotated[dict[LabelKey, Annotated[str, Meta(max_length=4096)]], Meta(max_length=32)]

ModelName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][-._/A-Za-z0-9]*$", max_length=200)]
GpuName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][-._A-Za-z0-9]*$", max_length=63)]  # may be a node label's value
Repository = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][-._A-Za-z0-9]*(/[A-Za-z0-9][-._A-Za-z0-9]*)?$", max_length=193)]
GitRevision = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][-._/A-Za-z0-9]*$", max_length=255)]
Folder = Annotated[
    str,
    Meta(
        pattern=r"^/[-._/A-Za-z0-9]*$",
        max_length=1024,
        extra_json_schema=_checked("!self.split('/').exists(part, part == '..')", "must not contain '..'"),
    ),
]
ImageName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][-._:/@A-Za-z0-9]*$", max_length=512)]
HostName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9]([-.A-Za-z0-9]*[A-Za-z0-9])?$", max_length=253)]
VariableName = Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=128)]
Word = Annotated[str, Meta(min_length=1, max_length=8192)]  # of a command
GivenWord = Annotated[str, Meta(min_length=1, max_length=2048)]
VariableValue = Annotated[str, Meta(max_length=1024)]
# A file of a checkpoint as text: an object would be twenty times as large in the memory of all who read it.
JsonText = Annotated[str, Meta(max_length=FACTS_LENGTH)]

Replicas = Annotated[int, Meta(ge=0, le=MAXIMUM_REPLICAS)]
Gpus = Annotated[int, Meta(ge=1, le=MAXIMUM_GPUS)]
