"""What the front page states is what the published studies say."""

import pandas as pd

from leadmin.leads import LIMB_ELECTRODES, configurations, electrodes_needed, resolve
from leadmin.questions.electrodes import N_ALL, choice_in_words


def test_the_answer_of_the_readme_is_that_of_the_published_map(root):
    text = " ".join((root / "README.md").read_text(encoding="utf-8").split())
    curve = pd.read_csv(root / "book" / "published" / "subset" / "tables" / "curve.csv")
    macro = curve[curve["target"] == "macro"].set_index("n_electrodes")
    n = next(n for n, within in macro["within"].items() if within and n < N_ALL)
    row, nine = macro.loc[n], macro.loc[N_ALL]
    assert electrodes_needed(resolve(row["config"]).leads)[:3] == LIMB_ELECTRODES
    where = f"both arms, the left leg and two on the chest: {choice_in_words(row)}"
    assert f"{ {5: 'Five', 6: 'Six'}[n] } electrodes ({where}) read five" in text
    assert (
        f"within 0.01 of nine: macro AUROC {row['auroc']:.3f} against {nine['auroc']:.3f}" in text
    )
    which = "_with_seeds" if row["n_seeds"] > 1 else ""
    ends = (row[f"difference{end}"] for end in ("", f"_high{which}", f"_low{which}"))
    assert "a loss of {:.3f} [{:.3f}, {:.3f}]".format(*(-end for end in ends)) in text
    for name, word in (("MI", "infarctions"), ("HYP", "hypertrophies")):
        few, all_nine = (one[f"missed_{name}"] for one in (row, nine))
        assert f"{few:.0f} instead of {all_nine:.0f} {word}" in text
    assert f"{row['n_records']:,} records of PTB-XL" in text
    own = pd.read_csv(root / "book" / "published" / "map-spaces" / "tables" / "foretold.csv")
    mean = own[(own["config"] == "mean") & (own["target"] == "macro")].iloc[0]
    ends = (mean[f"difference{end}"] for end in ("", "_low", "_high"))
    said = "{:.4f} [{:.4f}, {:.4f}] ahead on the mean".format(*ends)
    assert f"each of the {mean['n_sets']} smaller sets are {said}" in text


def test_the_figures_of_the_readme_are_those_of_the_published_study(root):
    text = " ".join((root / "README.md").read_text(encoding="utf-8").split())
    table = pd.read_csv(root / "book" / "published" / "subset" / "tables" / "main.csv")
    main = table[table["recipe"] == "default"].set_index("config")
    ends = (f"difference{end}" for end in ("", "_high_with_seeds", "_low_with_seeds"))
    lost = (-main.loc["4-lead-I-II-V2-V5", end] for end in ends)
    assert "I, II, V2 and V5 lose {:.3f} [{:.3f}, {:.3f}];".format(*lost) in text
    assert "ten smaller sets was shown to stay within 0.01" in text
    ten = main.loc[[name for name in configurations() if name != "12-lead"]]
    assert (len(ten), ten["non_inferior"].any()) == (10, False)
    across = pd.read_csv(root / "book" / "published" / "subset" / "tables" / "across_recipes.csv")
    assert "leads I and II alone read better than twelve leads under the original" in text
    assert across.set_index("config").loc["2-lead-I-II", "difference_low"] > 0
    assert across.set_index("config").loc["2-lead-I-II", "p_holm"] < 0.05
