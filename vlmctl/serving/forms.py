"""The forms a plan is written in."""

from __future__ import annotations

from enum import StrEnum


class Form(StrEnum):
    """What a plan is written as."""

    VLMDEPLOYMENT = "vlmdeployment"
    VLLM = "vllm"
    COMPOSE = "compose"
    KUBERNETES = "kubernetes"
