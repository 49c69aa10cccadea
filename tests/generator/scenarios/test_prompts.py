"""The packaged prompts over the packaged taxonomy."""

import json
from itertools import islice
from pathlib import Path

import pytest

from aligngen.generator.content import load_taxonomy
from aligngen.generator.engines.protocol import EngineIdentity
from aligngen.generator.scenarios.config import ScenarioConfig
from aligngen.generator.scenarios.judging import judge_requests
from aligngen.generator.scenarios.prompts import load_judge, load_writer
from aligngen.generator.scenarios.sources import cell_sources, passage_sources

TAXONOMY = load_taxonomy()
IDENTITY = EngineIdentity("vllm", "m", "1", "b")
EXAMPLES = Path(__file__).parents[3] / "examples" / "passages"


def requests(count: int, *, cells: bool):
    config = ScenarioConfig(per_request=count, seed=3)
    writer = load_writer(TAXONOMY, config, IDENTITY, cells=cells)
    if cells:
        sources = islice(cell_sources(TAXONOMY, config), len(TAXONOMY.behaviours))
    else:
        sources = passage_sources([EXAMPLES], TAXONOMY, config)
    return [(source, writer.request(source)) for source in sources]


@pytest.mark.parametrize("cells", [True, False])
@pytest.mark.parametrize("count", [1, 3])
def test_every_prompt_is_whole_and_short(cells, count):
    for source, request in requests(count, cells=cells):
        system, user = (message.content for message in request.messages)
        assert source.text in user
        assert "\n\n\n" not in user and "None" not in user
        assert all(character not in system + user for character in ("{{", "{%"))
        assert len(user.split()) < 1000


def test_either_pole_is_written_first_about_as_often():
    firsts = []
    for _, request in requests(1, cells=True):
        items = json.loads(request.constraint.value)["properties"]["scenarios"]["items"]
        firsts.append(items["required"][1])
        example = request.messages[1].content.partition("Its answer: ")[2].partition("\n")[0]
        assert list(json.loads(example)["scenarios"][0]) == items["required"]
    assert 0.3 < firsts.count("aligned") / len(firsts) < 0.7


def test_a_judge_is_asked_by_both_personas_in_both_orders():
    asked = list(judge_requests(load_judge(IDENTITY), "What do you do?", "Tell it.", "Hide it."))
    assert len({r.request_id for r in asked}) == 4
    orders = ["A: Tell it." in r.messages[1].content for r in asked]
    assert orders == [True, False, True, False]
    assert len({r.messages[0].content for r in asked}) == 2
