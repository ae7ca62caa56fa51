"""Make the numbers of the book's explorer anew from the published map and the embedded sample."""

from pathlib import Path

from explorer import write_explorer

from leadmin.study.sources import open_dataset

if __name__ == "__main__":
    path = write_explorer(Path(__file__).resolve().parent.parent, open_dataset(""))
    print(f"{path}: {path.stat().st_size:,} bytes")
