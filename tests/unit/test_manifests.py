"""What the manifests offer, what is refused, and the command lines they give."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from memtop.launcher import manifests
from memtop.launcher.manifests import Manifest, ManifestError
from memtop.model.categories import TENSORS
from memtop.model.claims import claim as read_claim
from memtop.model.theory import closed_forms

COMMON = ("batch_size", "optimizer", "precision", "device", "seed", "steps", "learning_rate", "data", "download")


@pytest.fixture(params=manifests.names())
def manifest(request: pytest.FixtureRequest) -> Manifest:
    return manifests.load(request.param)


def test_the_scenarios_are_in_teaching_order() -> None:
    first = ("mlp-mnist", "mlp-cifar", "cnn", "deep-stack", "tensor-tracker", "iris")
    then = ("batch-size", "optimizers", "precision", "image-size", "transformer", "oom")
    assert manifests.names() == first + then


def test_every_manifest_is_whole(manifest: Manifest) -> None:
    assert manifest.script.is_file()
    assert manifest.title
    assert len(manifest.lesson) > 100
    assert "\n" not in manifest.lesson
    common = [name for name in COMMON if (manifest.name, name) != ("batch-size", "batch_size")]
    assert [spec.name for spec in manifest.settings][: len(common)] == common
    for spec in manifest.settings:
        assert spec.flag == "--" + spec.name.replace("_", "-")
        assert manifests.resolve(manifest, {spec.name: spec.default})[spec.name] == spec.default
        assert all(manifests.resolve(manifest, {spec.name: each})[spec.name] == each for each in spec.choices)


ONE_PHASE: dict[str, dict[str, object]] = {
    "optimizers": {"optimizer": "adafactor"},
    "precision": {"precision": "fp32"},
    "image-size": {"remedy": "none"},
}
"""Where several trainings take turns there is a closed form for each of them, not for all."""

FORMULAS = {"parameters", "parameter_tensors", "buffers", "inputs", "activations"}
IN_TURN = {"inputs", "activations"}
"""What changes within a run of these two: their batches are a list, or grow."""


def test_every_formula_has_a_value(manifest: Manifest) -> None:
    found = theory(manifest, ONE_PHASE.get(manifest.name, {}))
    unknown = IN_TURN if manifest.name in ("batch-size", "oom") else set()
    assert set(manifest.theory) - {"optimizer_state"} == FORMULAS - unknown
    assert set(found) == {"parameters", "gradients", "optimizer_state", "buffers", "inputs", "activations"} - unknown
    assert set(found) <= set(TENSORS)


def theory(manifest: Manifest, given: dict[str, object]) -> dict[str, int]:
    forms = closed_forms(
        parameters=0,
        trainable=0,
        buffers=None,
        itemsize=4,
        parameter_tensors=None,
        settings=manifests.resolve(manifest, given),
        formulas=manifest.theory,
        device="cpu",
    )
    return {category: form.bytes for category, form in forms.items()}


@pytest.mark.parametrize(
    ("name", "given", "unknown"),
    [
        ("optimizers", {}, "optimizer_state"),
        ("precision", {}, "activations"),
        ("image-size", {}, "activations"),
        ("image-size", {}, "inputs"),
        ("transformer", {"attention": "sdpa"}, "activations"),
    ],
)
def test_what_changes_from_phase_to_phase_has_no_closed_form(name: str, given: dict[str, object], unknown: str) -> None:
    assert unknown not in theory(manifests.load(name), given)


def test_the_smallest_models_in_bytes() -> None:
    assert theory(manifests.load("iris"), {})["parameters"] == 332
    assert theory(manifests.load("batch-size"), {})["parameters"] == 88


def test_every_claim_can_be_held_against_a_run(manifest: Manifest) -> None:
    assert manifest.claims
    for claim in manifest.claims:
        assert claim.text
        assert claim.tolerance <= 0.05
        for settings in (claim.settings, claim.than or {}):
            resolved = manifests.resolve(manifest, settings)
            assert all(resolved[name] == value for name, value in settings.items())


def test_a_claim_holds_within_its_tolerance_alone() -> None:
    exact = read_claim({"text": "twice", "category": "gradients", "of": "parameters", "factor": 2})
    assert exact.holds(20, 10)
    assert not exact.holds(21, 10)
    near = read_claim({"text": "twice", "category": "gradients", "factor": 2, "tolerance": 0.05, "than": {}})
    assert near.of == "gradients"
    assert near.holds(21, 10)
    assert not near.holds(22, 10)
    assert not near.holds(18, 10)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"category": "weights"}, "'weights' is no category of tensors"),
        ({"of": "free"}, "'free' is no category of tensors"),
        ({"moment": "later"}, "'later' is no moment of a step"),
        ({"factor": -1}, "factor and tolerance are numbers from 0 up"),
        ({"relation": "="}, "relation"),
    ],
)
def test_a_claim_that_means_nothing_is_refused(change: dict[str, object], words: str) -> None:
    with pytest.raises((TypeError, ValueError), match=words):
        read_claim({"text": "twice", "category": "gradients", "of": "parameters", "factor": 2, **change})


def test_a_scenario_may_be_without_a_common_setting() -> None:
    with pytest.raises(ManifestError, match="batch-size has no setting 'batch_size'") as refused:
        manifests.resolve(manifests.load("batch-size"), {"batch_size": 8})
    assert str(refused.value.remedy).startswith("did you mean batches? ")


def test_keys() -> None:
    keys = {name: {c.name: c.key for c in choices(name)} for name in manifests.names()}
    common = {"batch_size": "- +", "optimizer": "o", "precision": "p"}
    own = {"cnn", "deep-stack", "batch-size"}
    assert all(keys[name] == common for name in manifests.names() if name not in own)
    assert keys["batch-size"] == {"optimizer": "o", "precision": "p"}
    assert keys["cnn"] == {**common, "inplace": "i"}
    assert keys["deep-stack"] == {**common, "checkpoint": "c"}


def choices(name: str) -> tuple[manifests.Choice, ...]:
    manifest = manifests.load(name)
    return manifests.choices(manifest, manifests.resolve(manifest, {}))


def test_a_scenario_has_its_own_defaults() -> None:
    assert manifests.resolve(manifests.load("mlp-cifar"), {})["batch_size"] == 64
    assert manifests.resolve(manifests.load("deep-stack"), {})["batch_size"] == 32


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("batch-size", "128", 128),
        ("batch_size", 7, 7),
        ("learning_rate", "3e-4", 3e-4),
        ("optimizer", "adamw", "adamw"),
        ("checkpoint", "segments=5", "segments=5"),
        ("device", "cuda:1", "cuda:1"),
        ("download", "on", True),
        ("download", "false", False),
        ("data", "some folder", "some folder"),
    ],
)
def test_words_become_values(name: str, value: object, expected: object) -> None:
    settings = manifests.resolve(manifests.load("deep-stack"), {name: value})
    assert settings[name.replace("-", "_")] == expected
    assert type(settings[name.replace("-", "_")]) is type(expected)


@pytest.mark.parametrize(
    ("name", "value", "offered"),
    [
        ("batch_size", 0, "a whole number from 1"),
        ("batch_size", "many", "a whole number from 1"),
        ("batch_size", "1.5", "a whole number from 1"),
        ("seed", 2**63, "a whole number from 0 to 9223372036854775807"),
        ("learning_rate", "nan", "a number from 0"),
        ("learning_rate", "inf", "a number from 0"),
        ("optimizer", "lion", "sgd, momentum, adam, adamw"),
        ("checkpoint", "segments=", "none, halves, segments=2, sqrt, segments=N"),
        ("checkpoint", "segments=2x", "none, halves, segments=2, sqrt, segments=N"),
        ("download", "perhaps", "on or off"),
    ],
)
def test_what_is_not_offered_is_refused_in_one_line(name: str, value: object, offered: str) -> None:
    with pytest.raises(ManifestError) as refused:
        manifests.resolve(manifests.load("deep-stack"), {name: value})
    assert refused.value.message == f"{name} can't be {value!r}"
    assert refused.value.remedy == f"it takes {offered}"


def test_a_wrong_name_brings_the_nearest() -> None:
    with pytest.raises(ManifestError, match="unknown scenario 'mlp-cifr'") as refused:
        manifests.load("mlp-cifr")
    assert refused.value.remedy == f"did you mean mlp-cifar? there are: {', '.join(manifests.names())}"
    with pytest.raises(ManifestError, match="cnn has no setting 'batchsize'") as refused:
        manifests.resolve(manifests.load("cnn"), {"batchsize": 1})
    assert str(refused.value.remedy).startswith("did you mean batch_size? there are: batch_size, optimizer")
    with pytest.raises(ManifestError) as refused:
        manifests.load("../cnn")
    assert "there are: " in str(refused.value.remedy)


def test_the_command_line() -> None:
    manifest = manifests.load("cnn")
    settings = manifests.resolve(manifest, {"batch_size": 8, "data": "/tmp/a b", "download": True, "inplace": "on"})
    line = manifests.command(manifest, settings, "/usr/bin/python3")
    assert line[:5] == ["/usr/bin/python3", "-u", str(manifest.script), "--batch-size", "8"]
    assert line[-7:] == ["--data", "/tmp/a b", "--download", "--inplace", "on", "--accumulate", "1"]
    plain = manifests.command(manifest, manifests.resolve(manifest, {}), "python")
    assert "--data" not in plain
    assert "--download" not in plain


def test_the_data_source() -> None:
    cnn, stack = manifests.load("cnn"), manifests.load("deep-stack")
    assert manifests.data_source(cnn, {"data": ""}) == "synthetic images of CIFAR-10's shape"
    assert manifests.data_source(cnn, {"data": "here"}) == "CIFAR-10 files in here"
    assert manifests.data_source(stack, {"data": "here"}) == "synthetic vectors"


def test_as_json() -> None:
    listed = json.loads(json.dumps(manifests.as_json()))
    assert [each["name"] for each in listed] == list(manifests.names())
    assert [each["name"] for each in listed[2]["settings"][-2:]] == ["inplace", "accumulate"]
    assert listed[2]["settings"][-2] == {
        "name": "inplace",
        "title": "in-place ReLU",
        "type": "str",
        "default": "off",
        "choices": ["off", "on"],
        "patterns": [],
        "minimum": None,
        "maximum": None,
        "key": "i",
        "flag": "--inplace",
    }


def test_a_broken_manifest_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "common").mkdir()
    (tmp_path / "common" / "settings.toml").write_text("settings = []")
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "scenario.toml").write_text('title = "no lesson"')
    monkeypatch.setattr(manifests, "_root", lambda: tmp_path)
    with pytest.raises(ManifestError, match=r"one/scenario.toml is not a manifest: KeyError\('lesson'\)"):
        manifests.load("one")
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "scenario.toml").write_text("title =")
    manifests._ordered.cache_clear()
    manifests._folders.cache_clear()
    with pytest.raises(ManifestError, match=r"two/scenario.toml can't be read: Invalid value"):
        manifests.names()


def test_listing_needs_neither_torch_nor_a_screen() -> None:
    code = "import sys; from memtop.launcher import manifests; manifests.as_json(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "textual", "rich", "psutil", "pynvml"} & set(loaded)
