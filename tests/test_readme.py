"""What the front page states is what the published studies say."""

from pathlib import Path

import pandas as pd

from leadmin.leads import configurations

ENDS = ("", "_high_with_seeds", "_low_with_seeds")


ROOT = Path(__file__).resolve().parent.parent
TEXT = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())


def table(name, study="subset"):
    return pd.read_csv(ROOT / "book" / "published" / study / "tables" / f"{name}.csv")


def test_the_answer_of_the_readme_is_that_of_the_published_map():
    curve, fresh, own = table("curve"), table("curve", "map-fresh"), table("foretold", "map-spaces")
    of_target = dict(iter(table("map").groupby("target")))
    pair, nine = (
        {name: rows.set_index("config").loc[config] for name, rows in of_target.items()}
        for config in ("4-lead-I-II-V2-V5", "12-lead")
    )

    def loss(row):
        ends = ("", "_high", "_low") if row["n_seeds"] == 1 else ENDS
        return "{:.3f} [{:.3f}, {:.3f}]".format(*(-row[f"difference{end}"] for end in ends))

    row = pair["macro"]
    assert row["electrodes"] == "RA, LA, LL, V2, V5"
    assert "Five electrodes (both arms, the left leg, V2 and V5 on the chest) read five" in TEXT
    scores = f"macro AUROC {row['auroc']:.3f} against {nine['macro']['auroc']:.3f}"
    assert f"within 0.01 of nine: {scores}, a loss of {loss(row)}" in TEXT
    for name, word in (("MI", "infarctions"), ("HYP", "hypertrophies")):
        few, all_nine = (one[name]["missed"] for one in (pair, nine))
        assert f"{few:.0f} instead of {all_nine:.0f} {word}" in TEXT
    assert f"{row['n_records']:,} records of PTB-XL" in TEXT
    for rows, said in ((curve, "these choices lose {}"), (fresh, "V2 and V5, and lose {}")):
        five = rows.set_index(["target", "n_electrodes"]).loc[("macro", 5)]
        assert five["within"]
        assert said.format(loss(five)) in TEXT
    assert five["chosen"].startswith("V2 + V5 (9)")
    mean = own.set_index(["config", "target"]).loc[("mean", "macro")]
    ends = (mean[f"difference{end}"] for end in ("", "_low", "_high"))
    said = "{:.4f} [{:.4f}, {:.4f}] ahead on the mean".format(*ends)
    assert f"each of the {mean['n_sets']} smaller sets are {said}" in TEXT


def test_the_figures_of_the_readme_are_those_of_the_published_study():
    main = table("main").query("recipe == 'default'").set_index("config")
    lost = (-main.loc["4-lead-I-II-V2-V5", f"difference{end}"] for end in ENDS)
    assert "I, II, V2 and V5 lose {:.3f} [{:.3f}, {:.3f}];".format(*lost) in TEXT
    assert "ten smaller sets was shown to stay within 0.01" in TEXT
    ten = main.loc[[name for name in configurations() if name != "12-lead"]]
    assert (len(ten), ten["non_inferior"].any()) == (10, False)
    assert "leads I and II alone read better than twelve leads under the original" in TEXT
    pair = table("across_recipes").set_index("config").loc["2-lead-I-II"]
    assert pair["difference_low"] > 0
    assert pair["p_holm"] < 0.05
