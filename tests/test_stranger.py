"""Data and models of others: PTB-XL as it is downloaded elsewhere, own records, own networks."""

import pytest
from archives import make_files, write_folder, write_zip

from leadmin.data import ptbxl
from leadmin.data.prepare import prepare
from leadmin.errors import LeadminError

# --- PTB-XL as others have it ---------------------------------------------------------------


def test_the_folders_that_wget_makes_are_found(tmp_path):
    inner = tmp_path / "physionet.org" / "files" / "ptb-xl" / "1.0.3"
    write_folder(inner, make_files(1))
    (inner.parents[2] / "robots.txt").write_text("User-agent: *\n")
    for path in (tmp_path, *inner.parents[:3], inner):
        archive = ptbxl.open_ptbxl(path)
        assert (archive.path, ptbxl.source_version(archive)) == (inner, "1.0.3")
    prepare(tmp_path, tmp_path / "x.h5", quiet=True)


def test_two_downloaded_versions_are_ambiguous(tmp_path):
    for version in ("1.0.1", "1.0.3"):
        write_folder(tmp_path / "physionet.org/files/ptb-xl" / version, make_files(1))
    with pytest.raises(LeadminError, match=r"found: .*ptb-xl/1\.0\.1, .*ptb-xl/1\.0\.3; give"):
        ptbxl.open_ptbxl(tmp_path)


@pytest.mark.parametrize("version", ["1.0.1", "1.0.2"])
def test_earlier_versions_are_refused_with_the_reason(tmp_path, version):
    files, name = make_files(1), ptbxl.TOP_FOLDER.replace("1.0.3", version)
    write_folder(tmp_path / "wget" / "ptb-xl" / version, files)
    for source in (tmp_path / "wget" / "ptb-xl", write_zip(tmp_path / "a.zip", files, top=name)):
        with pytest.raises(LeadminError, match=rf"PTB-XL {version}, .*21,837.*valid: 1\.0\.3"):
            prepare(source, tmp_path / "x.h5", quiet=True)
    assert not (tmp_path / "x.h5").exists()


def test_an_earlier_version_under_another_name_is_told_by_its_length(tmp_path, monkeypatch):
    monkeypatch.setattr(ptbxl, "N_RECORDS", 5)
    write_folder(tmp_path, make_files(6))
    with pytest.raises(LeadminError, match=r"a version before 1\.0\.3"):
        ptbxl.read_table(ptbxl.open_ptbxl(tmp_path))
