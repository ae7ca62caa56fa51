"""What the front page states is what the published study says."""

import pandas as pd


def test_the_figures_of_the_readme_are_those_of_the_published_study(root):
    text = " ".join((root / "README.md").read_text(encoding="utf-8").split())
    table = pd.read_csv(root / "book" / "published" / "subset" / "tables" / "main.csv")
    main = table[table["recipe"] == "default"].set_index("config")
    fewer = main.drop(index="12-lead")
    assert "No set with fewer leads was shown to stay within 0.01" in text
    assert not fewer["non_inferior"].any()
    closest = fewer["difference"].nlargest(2)
    assert set(closest.index) == {"3-lead-I-II-V2", "3-lead-II-V2-V5"}
    assert "I, II, V2 and II, V2, V5 come closest" in text
    for config in closest.index:
        row = -main.loc[config, ["difference", "difference_high", "difference_low"]]
        assert "a loss of {:.3f} [{:.3f}, {:.3f}]".format(*row) in text
    across = pd.read_csv(root / "book" / "published" / "subset" / "tables" / "across_recipes.csv")
    assert "leads I and II alone read better than twelve leads under the original" in text
    assert across.set_index("config").loc["2-lead-I-II", "difference_low"] > 0
    assert across.set_index("config").loc["2-lead-I-II", "p_holm"] < 0.05
    assert "4,373 records" in text
