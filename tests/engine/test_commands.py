"""Commands: which models there are, and which one answers in a conversation."""

from pathlib import Path

import pytest

from engine import replies
from engine.answers import Answer, Recollection, TurnStats
from engine.commands import chosen_model, fixed_answer
from hub.messages import InboundMessage
from hub.model_registry import ModelRegistry
from hub.model_settings import GgufSettings, RoleSettings
from hub.settings import EngineSettings, Settings
from tests.engine.turns import HERE


@pytest.fixture
def registry(data: Path) -> ModelRegistry:
    """Two models; the smaller one is the default, the other has a role."""
    return ModelRegistry(
        Settings(
            _env_file=None,
            data=data,
            models={"Qwen": GgufSettings(path="qwen.gguf")},
            engine=EngineSettings(roles=RoleSettings(coding="Qwen")),
        )
    )


def answered(registry: ModelRegistry, text: str, *, chosen: str = "") -> Answer:
    """Answer a command in a conversation with this model chosen."""
    message = InboundMessage(external_key="1", conversation="c", address=HERE, text=text)
    recollection = Recollection(preferences={"model": chosen} if chosen else {})
    answer = fixed_answer(message, recollection, registry, TurnStats())
    assert answer
    assert answer.kind == "notice"
    return answer


def test_the_models_are_shown_with_the_one_that_answers(registry: ModelRegistry) -> None:
    """And nothing is changed."""
    answer = answered(registry, "/model")

    assert "- `Qwen`\n- `smollm2-135m`, which answers here now\n" in answer.text
    assert answer.preferences == {}
    assert "- `Qwen`, which answers here now" in answered(registry, "/model", chosen="Qwen").text


@pytest.mark.parametrize("text", ["/model Qwen", "/model   qwen ", "/MODEL@my_bot QWEN"])
def test_a_model_is_chosen_by_its_name(registry: ModelRegistry, text: str) -> None:
    """However it is spelt."""
    answer = answered(registry, text)

    assert answer.text == replies.MODEL_CHOSEN.format(name="Qwen")
    assert answer.preferences == {"model": "Qwen"}


def test_a_role_is_chosen_as_a_role(registry: ModelRegistry) -> None:
    """The conversation follows when the role gets another model."""
    answer = answered(registry, "/model coding")

    assert answer.text == replies.MODEL_CHOSEN.format(name="Qwen")
    assert answer.preferences == {"model": "coding"}


def test_the_default_is_taken_back(registry: ModelRegistry) -> None:
    """From then on the conversation goes with everybody else."""
    answer = answered(registry, "/model default", chosen="Qwen")

    assert answer.text == replies.MODEL_RESET.format(name="smollm2-135m")
    assert answer.preferences == {"model": ""}


@pytest.mark.parametrize("name", ["gpt", "../../etc/passwd", "`x` **y**", "\x1b[31m" + "x" * 500])
def test_an_unknown_name_is_answered_with_the_list(registry: ModelRegistry, name: str) -> None:
    """What is said back is short and cannot change how it is shown."""
    answer = answered(registry, f"/model {name}")

    first, _, rest = answer.text.partition("\n\n")
    assert first.startswith("There is no model `")
    assert first.count("`") == 2
    assert first.isprintable()
    assert len(first) < 80
    assert "- `Qwen`" in rest
    assert answer.preferences == {}


def test_a_model_that_was_taken_away_is_the_default_again(registry: ModelRegistry) -> None:
    """The conversation goes on."""
    assert chosen_model(Recollection(preferences={"model": "gone"}), registry) == "smollm2-135m"
    assert chosen_model(Recollection(preferences={"model": "coding"}), registry) == "Qwen"
    assert chosen_model(Recollection(), registry) == "smollm2-135m"


def test_a_long_registry_is_cut(data: Path) -> None:
    """A message has room for some names, not for a thousand."""
    models = {f"m{number:03}": GgufSettings(path="x.gguf") for number in range(100)}
    registry = ModelRegistry(Settings(_env_file=None, data=data, models=models))

    text = answered(registry, "/model").text

    assert "- and 71 more" in text
    assert len(text) < 1500
