"""Playbooks: the built-in ones, the errors of the loader, and the export to CACAO."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from tests.alerting.conftest import PLAYBOOKS
from tests.conftest import missing
from tocsin.contract import atlas
from tocsin.contract.incidents import END, Playbook, StepType
from tocsin.errors import ConfigError
from tocsin_alerting.playbooks.cacao import to_cacao
from tocsin_alerting.playbooks.checklist import VARIABLES, fill
from tocsin_alerting.playbooks.loading import load_playbook, load_playbooks, targets

BAD = Path(__file__).parent / "playbooks"
FACTS = dict.fromkeys(VARIABLES, "2026-03-02T00:00:00Z") | {"detector": "feature_drift", "subject_id": "a b"}


def test_the_shipped_ones() -> None:
    families = {
        "training-data-poisoning",
        "model-drift",
        "model-extraction",
        "model-evasion",
        "membership-inference",
        "registry-intrusion",
    }
    assert set(PLAYBOOKS) == families | {"unexplained-anomaly", "tocsin-health"}


@pytest.fixture(params=PLAYBOOKS.values(), ids=lambda playbook: playbook.id)
def playbook(request: pytest.FixtureRequest) -> Playbook:
    found: Playbook = request.param
    return found


def test_every_path_ends_with_a_review(playbook: Playbook) -> None:
    last = playbook.steps[-1]
    assert last.on_completion == END
    for step in playbook.steps[:-1]:
        assert END not in targets(step), f"{step.id} ends the playbook without its last step"


def test_containment_needs_approval(playbook: Playbook) -> None:
    """Steps that stop a service or revoke rights require an approval; holds that are easy to undo do not."""
    strong = {"revert-system", "restrict-access", "disconnect-system"}
    for step in playbook.steps:
        cheap = "reversible" in step.description or "Cheap to undo" in step.description
        if step.activity in strong and not cheap:
            assert step.approval, f"{step.id} contains without anyone's approval"


def test_every_step_says_what_to_do(playbook: Playbook) -> None:
    for step in playbook.steps:
        assert step.csf, step.id
        assert step.commands or step.type is StepType.IF_CONDITION
        assert step.description or step.condition


def test_every_family_preserves_evidence_tells_people_and_learns(playbook: Playbook) -> None:
    tags = {tag for step in playbook.steps for tag in step.csf}
    assert {"RS.AN-07", "RS.MA-02", "ID.IM-03"} <= tags
    if playbook.id not in {"unexplained-anomaly", "tocsin-health"}:  # no attack is known yet
        assert {"RS.MI-01", "RS.CO-02", "RC.CO-03"} <= tags


def commands(playbook: Playbook) -> list[str]:
    texts = [fill(c, FACTS, shlex.quote) for step in playbook.steps for c in step.commands]
    parts = [part.strip() for text in texts for part in re.split(r"\||&&|>|;|\bdo\b", text)]
    return [part for part in parts if part.startswith("tocsin ")]


def test_every_command_of_ours_exists(playbook: Playbook) -> None:
    from tocsin.cli.main import tocsin

    assert commands(playbook)
    for text in commands(playbook):
        command: Any = tocsin
        words = shlex.split(text.replace("$s", "access"))[1:]
        while hasattr(command, "commands"):
            command = command.commands[words.pop(0)]
        command.make_context(text, words)


def test_techniques_are_in_atlas(playbook: Playbook) -> None:
    for label in playbook.labels:
        if label.startswith("AML."):
            assert atlas.name(label)


@pytest.mark.parametrize("path", sorted(BAD.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_mistake_is_named_with_file_and_line(path: Path) -> None:
    expected = path.with_suffix(".error").read_text().strip()
    with pytest.raises(ConfigError) as error:
        load_playbook(path)
    assert str(error.value) == f"{path}:{expected}"


def test_a_folder_may_replace_a_playbook(tmp_path: Path) -> None:
    text = (Path(str(load_playbooks.__code__.co_filename)).parent / "model-drift.yaml").read_text()
    (tmp_path / "model-drift.yaml").write_text(text.replace("name: Model drift", "name: Our drift", 1))
    (tmp_path / "house-rules.yaml").write_text(text)
    found = load_playbooks([tmp_path])
    assert found["model-drift"].name == "Our drift"
    assert set(found) == {*PLAYBOOKS, "house-rules"}


@pytest.fixture(scope="module")
def validators(shared_data: Any) -> list[Any]:
    """CACAO's official schemas, read as the draft that they name and as the newest one."""
    if importlib.util.find_spec("jsonschema") is None:
        missing("jsonschema is not installed")
    jsonschema = importlib.import_module("jsonschema")
    referencing = importlib.import_module("referencing")
    from referencing.jsonschema import DRAFT7

    folder = shared_data("cacao") / "schemas"
    schemas = [json.loads(path.read_text()) for path in folder.rglob("*.json")]
    registry = referencing.Registry().with_resources(
        (s["$id"], referencing.Resource.from_contents(s, default_specification=DRAFT7)) for s in schemas
    )
    (top,) = [s for s in schemas if s["title"] == "playbook"]
    kinds = (jsonschema.Draft7Validator, jsonschema.Draft202012Validator)
    return [kind(top, registry=registry) for kind in kinds]


def test_the_export_is_valid_cacao(playbook: Playbook, validators: list[Any]) -> None:
    for validator in validators:
        assert [error.message for error in validator.iter_errors(to_cacao(playbook))] == []


def test_the_validator_would_say_so(validators: list[Any]) -> None:
    broken = to_cacao(PLAYBOOKS["model-drift"])
    del next(s for s in broken["workflow"].values() if s["type"] == "action")["agent"]
    assert not validators[0].is_valid(broken)


def test_the_export_is_a_whole_workflow(playbook: Playbook) -> None:
    cacao = to_cacao(playbook)
    workflow = cacao["workflow"]
    reached, left = set(), [cacao["workflow_start"]]
    while left:
        id = left.pop()
        if id not in reached:
            reached.add(id)
            step = workflow[id]
            left += [step[k] for k in ("on_completion", "on_true", "on_false") if k in step]
    assert reached == set(workflow)
    used = {step["agent"] for step in workflow.values() if "agent" in step}
    assert used <= set(cacao["agent_definitions"])
    assert to_cacao(playbook) == cacao
    texts = re.findall(r"__([a-z_]+?)__:value", json.dumps(cacao))
    assert {f"__{name}__" for name in texts} <= set(cacao["playbook_variables"])
