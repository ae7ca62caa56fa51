"""What the front page states is what the published studies say."""

import pandas as pd

from leadmin.leads import configurations

ENDS = ("", "_high_with_seeds", "_low_with_seeds")


def test_the_answer_of_the_readme_is_that_of_the_published_map(root):
    text = " ".join((root / "README.md").read_text(encoding="utf-8").split())
    curve = pd.read_csv(root / "book" / "published" / "subset" / "tables" / "curve.csv")
    sets = pd.read_csv(root / "book" / "published" / "subset" / "tables" / "map.csv")
    of_target = dict(iter(sets.groupby("target")))
    pair, nine = (
        {name: rows.set_index("config").loc[config] for name, rows in of_target.items()}
        for config in ("4-lead-I-II-V2-V5", "12-lead")
    )

    def loss(row):
        ends = ("", "_high", "_low") if row["n_seeds"] == 1 else ENDS
        return "{:.3f} [{:.3f}, {:.3f}]".format(*(-row[f"difference{end}"] for end in ends))

    row = pair["macro"]
    assert row["electrodes"] == "RA, LA, LL, V2, V5"
    assert "Five electrodes (both arms, the left leg, V2 and V5 on the chest) read five" in text
    scores = f"macro AUROC {row['auroc']:.3f} against {nine['macro']['auroc']:.3f}"
    assert f"within 0.01 of nine: {scores}, a loss of {loss(row)}" in text
    for name, word in (("MI", "infarctions"), ("HYP", "hypertrophies")):
        few, all_nine = (one[name]["missed"] for one in (pair, nine))
        assert f"{few:.0f} instead of {all_nine:.0f} {word}" in text
    assert f"{row['n_records']:,} records of PTB-XL" in text
    fresh = pd.read_csv(root / "book" / "published" / "map-fresh" / "tables" / "curve.csv")
    for table, said in ((curve, "these choices lose {}"), (fresh, "V2 and V5, and lose {}")):
        five = table[(table["target"] == "macro") & (table["n_electrodes"] == 5)].iloc[0]
        assert five["within"]
        assert said.format(loss(five)) in text
    assert five["chosen"].startswith("V2 + V5 (9)")
    own = pd.read_csv(root / "book" / "published" / "map-spaces" / "tables" / "foretold.csv")
    mean = own[(own["config"] == "mean") & (own["target"] == "macro")].iloc[0]
    ends = (mean[f"difference{end}"] for end in ("", "_low", "_high"))
    said = "{:.4f} [{:.4f}, {:.4f}] ahead on the mean".format(*ends)
    assert f"each of the {mean['n_sets']} smaller sets are {said}" in text


def test_the_figures_of_the_readme_are_those_of_the_published_study(root):
    text = " ".join((root / "README.md").read_text(encoding="utf-8").split())
    table = pd.read_csv(root / "book" / "published" / "subset" / "tables" / "main.csv")
    main = table[table["recipe"] == "default"].set_index("config")
    lost = (-main.loc["4-lead-I-II-V2-V5", f"difference{end}"] for end in ENDS)
    assert "I, II, V2 and V5 lose {:.3f} [{:.3f}, {:.3f}];".format(*lost) in text
    assert "ten smaller sets was shown to stay within 0.01" in text
    ten = main.loc[[name for name in configurations() if name != "12-lead"]]
    assert (len(ten), ten["non_inferior"].any()) == (10, False)
    across = pd.read_csv(root / "book" / "published" / "subset" / "tables" / "across_recipes.csv")
    assert "leads I and II alone read better than twelve leads under the original" in text
    assert across.set_index("config").loc["2-lead-I-II", "difference_low"] > 0
    assert across.set_index("config").loc["2-lead-I-II", "p_holm"] < 0.05
