import pytest

from textlabel.errors import PluginError, RecipeError
from textlabel.recipe import Recipe, Stage, shipped


@pytest.mark.parametrize("name", sorted(shipped()))
def test_every_shipped_recipe_loads_and_survives_a_round_trip(name):
    recipe = Recipe.load(name)
    assert recipe.name == name
    assert recipe.description
    assert Recipe.from_dict(recipe.to_dict()) == recipe


def _one(**stage):
    return {"name": "mine", "stage": [{"tune": "lora", "objective": "cross_entropy", **stage}]}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (_one(epoch=3), "unknown key 'epoch': did you mean 'epochs'?"),
        (_one(epochs=0), "epochs = 0 is out of range"),
        (_one(epochs="3"), "epochs = '3': expected int"),
        (_one(optimizer="adam"), "optimizer = 'adam' is out of range"),
        (_one(rows="all"), "rows = 'all'"),
        (_one(tune={"name": "lora", "rnk": 4}), "tune 'lora': unknown key 'rnk': did you mean 'rank'?"),
        (_one(tune={"name": "lora", "rank": 0}), "rank 0"),
        (_one(tune={"rank": 4}), "a table with a name"),
        (_one(rows="unlabeled"), "rows = 'unlabeled', but the stage reads rows = 'labeled'"),
        (
            _one(objective={"name": "cross_entropy", "weight": "a"}),
            "weight = 'a'; expected a positive number",
        ),
        (_one(tune={"name": "head", "l2": -1}), "expected l2 >= 0"),
        ({"stage": {"tune": "head"}}, "expected [[stage]], a list"),
        (_one(objective=[]), "at least one objective"),
        (_one(objective={"name": "cross_entropy", "label_smoothing": 1}), "expected a share"),
        ({"stage": []}, "no [[stage]]"),
        ({"stage": [{"tune": "head"}]}, "has no 'objective'"),
        ({"stages": []}, "unknown key 'stages': did you mean 'stage'?"),
        (
            {"stage": [{"tune": "head", "objective": "cross_entropy"}, {"tune": "head", "objective": "mse"}]},
            "different kinds of labels",
        ),
    ],
)
def test_nonsense_is_refused_with_its_reason(data, message):
    with pytest.raises(RecipeError) as caught:
        Recipe.from_dict(data, where="job.toml")
    assert message in str(caught.value)
    assert "job.toml" in str(caught.value)


def test_unknown_plugin_names_the_nearest():
    with pytest.raises(PluginError, match="unknown tune 'lorra': did you mean 'lora'"):
        Stage.of("lorra", "cross_entropy")


def test_unknown_recipe_names_the_nearest():
    with pytest.raises(RecipeError, match="did you mean 'lora'"):
        Recipe.load("lorra")


def test_malformed_file_names_line(tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text("name = 'x'\nstage = = 1\n")
    with pytest.raises(RecipeError, match=r"bad\.toml: not a TOML file.*line 2"):
        Recipe.load(path)
    with pytest.raises(RecipeError, match="no such file"):
        Recipe.load(tmp_path / "none.toml")


def test_integers_are_taken_where_floats_are_expected():
    assert Stage.of("lora", "cross_entropy", learning_rate=1).training.learning_rate == 1.0


def test_objectives_may_be_summed_with_weights():
    stage = Stage.of("lora", ["cross_entropy", {"name": "cross_entropy", "weight": 0.5}])
    assert [o.weight for o in stage.objective] == [1.0, 0.5]
