"""Make the table of records of three hospitals from the headers of their WFDB files.

    python make_table.py FOLDER TABLE.csv

CPSC2018 and Georgia write their statements behind ``#Dx:`` with commas, LUDB behind ``#Diagnoses:``
with bars. A record is taken for a patient, since the headers name none.
"""

import csv
import re
import sys
from pathlib import Path


def row_of(header: Path) -> dict[str, str]:
    """Read what one header says of its record."""
    said = dict(re.findall(r"^#\s*(\w+):\s*(.*?)\s*$", header.read_text("utf-8"), re.MULTILINE))
    statements = re.split(r"[,|]", said["Dx"]) if "Dx" in said else said["Diagnoses"].split("|")
    name = f"{header.parent.name}/{header.stem}"
    age = said.get("Age", "")
    return {
        "record": name,
        "patient": name,
        "statements": ";".join(one.strip(" .").replace(";", ",") for one in statements),
        "age": age if age.isdigit() else "",
        "sex": {"m": "male", "f": "female"}.get(said.get("Sex", "")[:1].lower(), ""),
    }


if __name__ == "__main__":
    folder, table = map(Path, sys.argv[1:])
    rows = [row_of(header) for header in sorted(folder.glob("*/*.hea"))]
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
