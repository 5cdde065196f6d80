"""When no VLM is needed, and the questions that lead from a use to requirements."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from vlmctl.errors import InvalidValue
from vlmctl.specs.answers import SmallerTool
from vlmctl.specs.record import Record
from vlmctl.specs.workload import ImageInput, LicensePolicy, Requirements, Task, Workload
from vlmctl.units import parse_image_size

SMALLER_TOOLS = {
    Task.TRANSCRIPTION: SmallerTool(
        task=Task.TRANSCRIPTION,
        tool="an OCR engine (Tesseract, PaddleOCR, docTR), or a small OCR model such as paddleocr-vl",
        loses="layout beyond lines and blocks, reading order of complex pages, handwriting, tables as tables",
        needs_vlm_when="fields are to be extracted, tables or layout kept, or the content reasoned about",
    ),
    Task.CLASSIFICATION: SmallerTool(
        task=Task.CLASSIFICATION,
        tool="CLIP or SigLIP zero-shot, or a linear probe on their features",
        loses="labels that need reading text, counting or reasoning; an explanation of the label",
        needs_vlm_when="the classes are open or defined by rules in words",
    ),
    Task.DETECTION: SmallerTool(
        task=Task.DETECTION,
        tool="a detector for fixed classes (YOLO, RT-DETR), or Grounding DINO for classes given in words",
        loses="references such as 'the cup left of the laptop' and questions about what was found",
        needs_vlm_when="objects are named by relations or in free language",
    ),
    Task.IMAGE_SEARCH: SmallerTool(
        task=Task.IMAGE_SEARCH,
        tool="image and text embeddings (CLIP, SigLIP) with a vector index",
        loses="answers about the images that were found",
        needs_vlm_when="the images found are then to be read or compared",
    ),
    Task.TEXT_ONLY: SmallerTool(
        task=Task.TEXT_ONLY,
        tool="a text language model of the same size",
        loses="nothing: without images the vision encoder only takes memory",
        needs_vlm_when="images come in later",
    ),
}
COMPACT_BILLIONS = 10.0  # "small": weights in bf16 fit a 24 GB GPU with room for the KV cache


YES_OR_NO = ("yes", "no")


class Question(Record, frozen=True, kw_only=True):
    """One step of the decision. `choices` of () means free text."""

    id: str
    text: str
    choices: tuple[str, ...] = ()
    default: str = ""


QUESTIONS = (
    Question(id="vision", text="Do the requests hold images?", choices=YES_OR_NO, default="yes"),
    Question(
        id="task",
        text="What is to be done with them?",
        choices=tuple(task.value for task in Task),
        default=Task.GENERAL_VQA.value,
    ),
    Question(id="image", text="How large is a usual image, in pixels (WIDTHxHEIGHT)?", default="1280x720"),
    Question(id="images", text="How many images does one request hold?", default="1"),
    Question(id="language", text="Which languages, as codes such as en or ja, separated by commas?", default="en"),
    Question(
        id="license",
        text="What must the licence allow?",
        choices=tuple(policy.value for policy in LicensePolicy),
        default=LicensePolicy.COMMERCIAL.value,
    ),
    Question(id="size", text="Must it be small (one 24 GB GPU)?", choices=YES_OR_NO, default="no"),
    Question(id="grounding", text="Are boxes or points in the image wanted?", choices=YES_OR_NO, default="no"),
)


def smaller_tools(tasks: Iterable[str]) -> tuple[SmallerTool, ...]:
    """The smaller tools for those of the tasks that usually need no VLM."""
    return tuple(SMALLER_TOOLS[Task(task)] for task in sorted(tasks) if Task(task) in SMALLER_TOOLS)


def next_question(answers: Mapping[str, str]) -> Question | None:
    """The next open question; None when the decision is made. Without images nothing more is asked."""
    if answers.get("vision") == "no":
        return None
    return next((question for question in QUESTIONS if question.id not in answers), None)


def check_answer(question: Question, answer: str) -> str:
    """The answer in its plain form; raises InvalidValue where it is no choice or not of the form asked for."""
    given = answer.strip().lower() or question.default
    if question.choices == YES_OR_NO:
        given = {"y": "yes", "n": "no"}.get(given, given)
    if question.choices and given not in question.choices:
        raise InvalidValue(f"{question.id}: {answer!r} is not an answer.", remedy=f"Say {', '.join(question.choices)}.")
    if question.id == "image":
        parse_image_size(given)
    if question.id == "images" and not (given.isdigit() and 1 <= int(given) <= 1000):
        raise InvalidValue(f"images: {answer!r} is not a number of images.", remedy="Say a number from 1 to 1000.")
    return given


def requirements_from_answers(answers: Mapping[str, str]) -> Requirements:
    """The requirements that the answers amount to; unanswered questions take their defaults.

    Raises InvalidValue for unknown questions or answers.
    """
    known = {question.id for question in QUESTIONS}
    for name in answers:
        if name not in known:
            raise InvalidValue(f"{name!r} is not a question.", remedy=f"Questions are {', '.join(sorted(known))}.")
    given = {question.id: check_answer(question, answers.get(question.id, "")) for question in QUESTIONS}
    if given["vision"] == "no":
        return Requirements(tasks={Task.TEXT_ONLY: 1.0}, license=LicensePolicy(given["license"]))
    width, height = parse_image_size(given["image"])
    count = int(given["images"])
    return Requirements(
        tasks={given["task"]: 1.0},
        languages=tuple(code.strip() for code in given["language"].split(",") if code.strip()),
        license=LicensePolicy(given["license"]),
        maximum_parameters_billions=COMPACT_BILLIONS if given["size"] == "yes" else None,
        multiple_images=count > 1,
        needs=("grounding",) if given["grounding"] == "yes" else (),
        workload=Workload(images=(ImageInput(width_pixels=width, height_pixels=height, count=count),)),
    )
