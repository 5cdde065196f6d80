"""Every reason that a condition can give, by condition, and the phases. A reason is part of the API: none changes."""

from __future__ import annotations

from enum import StrEnum


class ModelReason(StrEnum):
    """Reasons of ModelReady: whether the checkpoint is where the engine reads it."""

    LOADED = "Loaded"  # an engine has it in memory
    DOWNLOADED = "Downloaded"  # the cache has it
    DOWNLOADING = "Downloading"
    LOADING = "Loading"
    PENDING = "Pending"
    GATED_REPOSITORY = "GatedRepository"
    INVALID_TOKEN = "InvalidToken"
    REPOSITORY_NOT_FOUND = "RepositoryNotFound"
    REVISION_NOT_FOUND = "RevisionNotFound"
    ACCESS_DENIED = "AccessDenied"
    HUB_UNREACHABLE = "HubUnreachable"
    HUB_RATE_LIMITED = "HubRateLimited"
    STORAGE_FULL = "StorageFull"
    STORAGE_NOT_WRITABLE = "StorageNotWritable"
    CHECKPOINT_NOT_FOUND = "CheckpointNotFound"
    CHECKPOINT_DAMAGED = "CheckpointDamaged"
    DOWNLOAD_FAILED = "DownloadFailed"


class AvailableReason(StrEnum):
    """Reasons of Available: whether a replica takes requests, and else what it waits for or fails at."""

    AVAILABLE = "Available"
    SCALED_TO_ZERO = "ScaledToZero"
    PENDING = "Pending"
    SCHEDULING = "Scheduling"
    PULLING_IMAGE = "PullingImage"
    STARTING = "Starting"
    BENCHMARKING = "Benchmarking"
    NOT_READY = "NotReady"  # it took requests, and its node or a container of it does not say any more that it can
    # no pod, or no node for it
    POD_REFUSED = "PodRefused"
    INSUFFICIENT_GPU = "InsufficientGPU"
    INSUFFICIENT_CPU = "InsufficientCPU"
    INSUFFICIENT_MEMORY = "InsufficientMemory"
    INSUFFICIENT_STORAGE = "InsufficientEphemeralStorage"
    TOO_MANY_PODS = "TooManyPods"
    NO_MATCHING_NODE = "NoMatchingNode"
    UNTOLERATED_TAINT = "UntoleratedTaint"
    NODE_UNSCHEDULABLE = "NodeUnschedulable"
    VOLUME_UNAVAILABLE = "VolumeUnavailable"
    UNSCHEDULABLE = "Unschedulable"
    EVICTED = "Evicted"
    NODE_REFUSED = "NodeRefused"
    # no container
    IMAGE_PULL_FAILED = "ImagePullFailed"
    INVALID_IMAGE_NAME = "InvalidImageName"
    CONFIGURATION_MISSING = "ConfigurationMissing"
    CONTAINER_NOT_STARTED = "ContainerNotStarted"
    # the engine ends
    INVALID_ARGUMENT = "InvalidArgument"
    UNSUPPORTED_ARCHITECTURE = "UnsupportedArchitecture"
    UNSUPPORTED_BY_GPU = "UnsupportedByGPU"
    REMOTE_CODE_DENIED = "RemoteCodeDenied"
    CUDA_OUT_OF_MEMORY = "CUDAOutOfMemory"
    GPU_MEMORY_TAKEN = "GPUMemoryTaken"
    KV_CACHE_TOO_SMALL = "KVCacheTooSmall"
    ENCODER_CACHE_TOO_SMALL = "EncoderCacheTooSmall"
    HOST_OUT_OF_MEMORY = "HostOutOfMemory"
    SHARED_MEMORY_TOO_SMALL = "SharedMemoryTooSmall"
    GPU_DRIVER_TOO_OLD = "GPUDriverTooOld"
    GPU_NOT_VISIBLE = "GPUNotVisible"
    GPU_FAULT = "GPUFault"
    NCCL_FAILED = "NCCLFailed"
    STARTUP_TIMEOUT = "StartupTimeout"
    ENGINE_STUCK = "EngineStuck"
    CRASH_LOOP = "CrashLoop"


class BenchmarkReason(StrEnum):
    """Reasons of Benchmarked: what is known of a replica's speed before it takes requests."""

    PENDING = "Pending"
    RUNNING = "Running"
    MEASURED = "Measured"
    REUSED = "Reused"  # an earlier measurement of the same model, GPU, engine, arguments and workload holds
    PROBED = "Probed"
    NOT_MEASURED = "NotMeasured"  # it takes requests all the same
    SMOKE_FAILED = "SmokeFailed"
    BELOW_MINIMUM = "BelowMinimum"
    DISABLED = "Disabled"


class ReadyReason(StrEnum):
    """Reasons of Ready of its own; where another condition stands in the way, Ready gives that one's reason."""

    READY = "Ready"
    ROLLING_OUT = "RollingOut"
    ROLLED_BACK = "RolledBack"


class DegradedReason(StrEnum):
    """Reasons of Degraded. Where some replicas serve and one fails, it gives what that one fails at."""

    AS_PLANNED = "AsPlanned"
    BELOW_PLAN = "BelowPlan"
    NOT_SCALED = "NotScaled"  # the engine that is to scale cannot
    ROLLED_BACK = "RolledBack"
    OVER_BUDGET = "OverBudget"  # fewer replicas run than are asked for
    WRITE_REFUSED = "WriteRefused"  # the API server does not take what the operator writes
    WRITE_CHANGED = "WriteChanged"  # what it takes is not what was written
    OPERATOR_ERROR = "OperatorError"  # a bug: its log has the traceback


class ScalingReason(StrEnum):
    """Reasons of `status.scaling`: why who scales does, or why nobody does."""

    SCALING = "Scaling"
    DISABLED = "Disabled"  # the spec asks for no engine
    FIXED = "Fixed"  # min and max are 1, as where scaling is left out
    STOPPED = "Stopped"  # somebody scaled to 0, where only somebody can scale back
    HANDING_OVER = "HandingOver"  # what an earlier engine scales by is still there
    METRICS_MISSING = "MetricsMissing"
    ENGINE_FAILING = "EngineFailing"  # an object of KEDA or of the autoscaler says that it does not scale
    MINIMUM_RAISED = "MinimumRaised"  # it scales, and not to 0
    NOT_INSTALLED = "NotInstalled"
    NOT_CONFIGURED = "NotConfigured"


class Phase(StrEnum):
    """The state in one word, for people; programs read conditions."""

    INVALID = "Invalid"
    REFUSED = "Refused"
    PAUSED = "Paused"
    PENDING = "Pending"
    DOWNLOADING = "Downloading"
    STARTING = "Starting"
    BENCHMARKING = "Benchmarking"
    ROLLING_OUT = "RollingOut"
    READY = "Ready"
    DEGRADED = "Degraded"
    FAILED = "Failed"
    SCALED_TO_ZERO = "ScaledToZero"


class PlanReason(StrEnum):
    """Reasons of Planned: whether there is a plan for the spec, and else why not."""

    PLANNED = "Planned"
    PENDING = "Pending"
    INVALID_SPEC = "InvalidSpec"
    UNKNOWN_MODEL = "UnknownModel"
    FACTS_MISSING = "FactsMissing"
    NO_INVENTORY = "NoInventory"
    NOTHING_FITS = "NothingFits"
    LICENSE_DENIED = "LicenseDenied"
    OVER_BUDGET = "OverBudget"
    UNSUPPORTED = "Unsupported"
    REMOTE_CODE_DENIED = "RemoteCodeDenied"
    IMAGE_DENIED = "ImageDenied"
    MEDIA_DENIED = "MediaDenied"
    UNREADABLE_REVISION = "UnreadableRevision"  # another version wrote it, or it was damaged
