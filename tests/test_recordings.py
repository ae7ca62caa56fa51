"""Files that people have: each form is written here, and read back as the same millivolts."""

import os
import zipfile

import edfio
import numpy as np
import pyarrow as pa
import pydicom
import pytest
import wfdb
from pyarrow import parquet
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence

from leadmin.data.recordings import iter_recordings, read_recordings
from leadmin.data.recordings.recording import millivolts
from leadmin.errors import LeadminError
from leadmin.leads import LEADS

RATE = 500
LIMB = LEADS[:6]


def ecg(leads=LEADS, seconds=10.0, rate=RATE, seed=0):
    """Whole microvolts, in mV: beats of another height in each lead, on some noise."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    beat = np.exp(-(((time % 0.8) - 0.4) ** 2) / (2 * 0.02**2))
    one, two = 0.8 * beat, 1.1 * beat + 0.2 * np.sin(2 * np.pi * time)
    limb = [one, two, two - one, -(one + two) / 2, one - two / 2, two - one / 2]
    chest = [beat * height for height in (-0.9, 0.5, 1.0, 1.4, 1.2, 0.9)]
    x = np.stack(limb + chest) + 0.01 * rng.standard_normal((12, len(time)))
    return np.rint(1000 * x[[LEADS.index(lead) for lead in leads]]) / 1000


def write_wfdb(folder, name="a", leads=LEADS, gain=1000, baseline=0, fmt="16", signal=None):
    signal = ecg(leads) if signal is None else signal
    digital = np.rint(signal.T * gain).astype(np.int64) + baseline
    n = len(leads)
    wfdb.wrsamp(
        name, RATE, ["mV"] * n, list(leads), d_signal=digital, fmt=[fmt] * n, adc_gain=[gain] * n,
        baseline=[baseline] * n, write_dir=str(folder),
    )  # fmt: skip
    return folder / f"{name}.hea"


def write_cinc(folder, name="HR00001"):
    """As the challenges of 2020 and 2021 store a record: a MATLAB file behind 24 bytes."""
    digital = np.rint(1000 * ecg()).astype("<i2")
    (folder / f"{name}.mat").write_bytes(b"\0" * 24 + digital.T.tobytes())
    lines = [
        f"{name}.mat 16x1+24 1000.0(0)/mV 16 0 {row[0]} "
        f"{int(row.sum(dtype=np.int64)) % 65536} 0 {lead}"
        for lead, row in zip(LEADS, digital, strict=True)
    ]
    header = f"{name} 12 {RATE} {digital.shape[1]}\n" + "\n".join(lines) + "\n#Age: 63\n"
    (folder / f"{name}.hea").write_text(header)
    return folder / f"{name}.hea"


def write_table(
    path, leads=LIMB, separator=",", head=None, time=None, scale=1.0, decimal=".", quote=""
):
    columns = [*(() if time is None else (time,)), *(scale * ecg(leads))]
    rows = [
        separator.join(f"{v:.6f}".replace(".", decimal) for v in r)
        for r in zip(*columns, strict=True)
    ]
    lines = ([] if head == "" else [separator.join(head or leads)]) + rows
    path.write_text("\n".join(f"{quote}{x}{quote}" for x in lines) + "\n", encoding="utf-8")
    return path


def write_parquet(path, leads=LIMB):
    time = np.arange(5000) / RATE
    columns = {"time (s)": time} | {
        f"{n} (mV)": row for n, row in zip(leads, ecg(leads), strict=True)
    }
    parquet.write_table(pa.table(columns), path)
    return path


def write_edf(path, leads=LIMB, unit="uV", scale=1000.0, label="ECG {}"):
    edfio.Edf(
        [
            edfio.EdfSignal(
                scale * row, RATE, label=label.format(lead), physical_dimension=unit,
                physical_range=(-5 * scale, 5 * scale),
            )
            for lead, row in zip(leads, ecg(leads), strict=True)
        ]
    ).write(path)  # fmt: skip
    return path


NAMED = {"I": "Lead I (Einthoven)", "aVR": "aVR, augmented voltage, right"}


def write_dicom(
    path, leads=LEADS, baseline=300.0, sensitivity=2.5, channel=(), unit="uV", **change
):
    """Voltage = stored * sensitivity + baseline, in microvolts (PS3.3, C.10.9)."""
    stored = np.rint((1000 * ecg(leads) - baseline) / sensitivity).astype("<i2")
    group = Dataset()
    group.WaveformOriginality = "ORIGINAL"
    group.NumberOfWaveformChannels, group.NumberOfWaveformSamples = stored.shape
    group.SamplingFrequency = RATE
    channels = []
    for lead in leads:
        source, code, one = Dataset(), Dataset(), Dataset()
        source.CodeValue, source.CodingSchemeDesignator = "1", "MDC"
        source.CodeMeaning = NAMED.get(lead, f"Lead {lead}")
        code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = unit, "UCUM", "microvolt"
        one.ChannelSourceSequence = Sequence([source])
        one.ChannelSensitivity, one.ChannelBaseline = sensitivity, baseline
        one.ChannelSensitivityUnitsSequence = Sequence([code])
        one.ChannelSensitivityCorrectionFactor = 1
        one.WaveformBitsStored = 16
        for name, value in channel:
            setattr(one, name, value)
        channels.append(one)
    group.ChannelDefinitionSequence = Sequence(channels)
    group.WaveformBitsAllocated, group.WaveformSampleInterpretation = 16, "SS"
    group.WaveformData = stored.T.tobytes()
    for name, value in change.items():
        setattr(group, name, value)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.9.1.1"
    meta.MediaStorageSOPInstanceUID = meta.ImplementationClassUID = pydicom.uid.generate_uid()
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.Modality = meta.MediaStorageSOPClassUID, "ECG"
    dataset.WaveformSequence = Sequence([group])
    dataset.save_as(path, enforce_file_format=True)
    return path


def aecg_text(leads=LEADS, increment='value="0.002" unit="s"', scale='value="2.5" unit="uV"'):
    origin, step = 50.0, 2.5
    sequences = [
        '<component><sequence><code code="TIME_ABSOLUTE"/><value xsi:type="GLIST_TS">'
        f'<head value="20210101120000.000"/><increment {increment}/></value></sequence></component>'
    ]
    for lead, row in zip(leads, ecg(leads), strict=True):
        digits = " ".join(str(round(v)) for v in (1000 * row - origin) / step)
        sequences.append(
            f'<component><sequence><code code="MDC_ECG_LEAD_{lead.upper()}"/>'
            f'<value xsi:type="SLIST_PQ"><origin value="{origin}" unit="uV"/><scale {scale}/>'
            f"<digits>{digits}</digits></value></sequence></component>"
        )
    return (
        '<?xml version="1.0" encoding="UTF-8"?><AnnotatedECG xmlns="urn:hl7-org:v3" '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><component><series><component>'
        f"<sequenceSet>{''.join(sequences)}</sequenceSet></component></series></component>"
        "</AnnotatedECG>"
    )


def write_aecg(path, **change):
    path.write_text(aecg_text(**change))
    return path


WATCH = {
    "en": ("Sample Rate,512.844 hertz", "Lead,Lead I", "Unit,µV", "."),
    "de": ('Abtastrate,"512,844 Hertz"', "Ableitung,Ableitung I", "Einheit,µV", ","),
    "fr": ("Fréquence d’échantillonnage,512 hertz", "Dérivation,Dérivation I", "Unité,μV", ","),
    "ja": ("サンプルレート,512ヘルツ", "リード,リードI", "単位,µV", "."),
    "ru": ("Частота дискретизации,512 герц", "Отведение,Отведение I", "Единица,мкВ", ","),
}


def write_watch(path, language="en"):
    rate, lead, unit, decimal = WATCH[language]
    values = [f"{1000 * v:.3f}".replace(".", decimal) for v in ecg(["I"], 30, 512.844)[0]]
    head = [
        "Name,A Person", "Date of Birth,1. Jan 1970", "Recorded Date,2021-03-04 10:11:12 +0100",
        "Classification,Sinus Rhythm", "Symptoms,", "Software Version,1.90", 'Device,"Watch6,2"',
        rate, *([] if language == "fr" else ["", ""]), lead, unit, "Average Heart Rate,64 bpm", "",
    ]  # fmt: skip
    path.write_text("\n".join(head + values) + "\n", encoding="utf-8")
    return path


SIX = ["I", "II", "III", "aVR", "aVL", "aVF"]
FORMS = {
    "wfdb": (lambda f: write_wfdb(f), LEADS),
    "wfdb, another gain and zero": (lambda f: write_wfdb(f, gain=200, baseline=1024), LEADS),
    "wfdb 212": (lambda f: write_wfdb(f, gain=1000, fmt="212"), LEADS),
    "wfdb with a byte-order mark": (lambda f: _text(p := write_wfdb(f), "\ufeff" + p.read_text()),
                                    LEADS),
    "cinc": (write_cinc, LEADS),
    "cinc by its signals": (lambda f: write_cinc(f).with_suffix(".mat"), LEADS),
    "csv": (lambda f: write_table(f / "a.csv", time=np.arange(5000) / RATE,
                                  head=["time", *(f"{n} (mV)" for n in SIX)]), SIX),
    "csv in microvolts, ms": (lambda f: write_table(f / "a.csv", time=np.arange(5000) * 2.0,
                              head=["t [ms]", *(f"Lead {n}_uV" for n in SIX)], scale=1000), SIX),
    "csv with decimal commas": (lambda f: write_table(f / "a.csv", time=np.arange(5000) / RATE,
                                separator=";", decimal=",",
                                head=["Zeit (s)", *(f"{n} (mV)" for n in SIX)]), SIX),
    "tsv": (lambda f: write_table(f / "a.tsv", separator="\t", time=np.arange(5000) / RATE,
                                  head=["seconds", *(f"{n}[mV]" for n in SIX)]), SIX),
    "csv with quoted commas": (lambda f: write_table(f / "a.csv", time=np.arange(5000) / RATE,
                               separator='","', decimal=",", quote='"',
                               head=["time", *(f"{n}/mV" for n in SIX)]), SIX),
    "parquet": (lambda f: write_parquet(f / "a.parquet"), SIX),
    "edf": (lambda f: write_edf(f / "a.edf"), SIX),
    "edf in mV": (lambda f: write_edf(f / "a.edf", unit="mV", scale=1.0), SIX),
    "dicom": (lambda f: write_dicom(f / "a.dcm"), LEADS),
    "dicom without suffix": (lambda f: write_dicom(f / "IM0001"), LEADS),
    "aecg": (lambda f: write_aecg(f / "a.xml"), LEADS),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_a_form_gives_the_voltages_that_were_written(tmp_path, form):
    write, leads = FORMS[form]
    (found,) = read_recordings(write(tmp_path))
    assert found.leads == tuple(leads)
    assert found.sampling_rate == RATE
    assert found.seconds == 10
    tolerance = 0.0026 if "another" in form else 0.0013
    np.testing.assert_allclose(found.signals, ecg(leads), atol=tolerance)
    assert not found.noticed


@pytest.mark.parametrize("language", WATCH)
def test_an_apple_watch_speaks_several_languages(tmp_path, language):
    path = write_watch(tmp_path / "ecg_2021-03-04.csv", language)
    (found,) = read_recordings(path)
    assert found.leads == ("I",)
    assert found.name == "ecg_2021-03-04"
    assert found.sampling_rate == (512.844 if language in {"en", "de"} else 512)
    np.testing.assert_allclose(found.signals, ecg(["I"], 30, 512.844), atol=1e-6)


def test_records_packed_as_flac_are_read(root, tmp_path):
    pytest.importorskip("soundfile", reason="libsndfile reads FLAC")
    with zipfile.ZipFile(root / "data" / "sample" / "ptb-xl-sample.zip") as archive:
        for name in archive.namelist():
            if "00003_lr" in name:
                (tmp_path / name.rpartition("/")[2]).write_bytes(archive.read(name))
    (found,) = read_recordings(tmp_path)
    assert found.leads == LEADS
    assert found.signals[:3, 0].tolist() == [-0.029, -0.079, -0.049]  # as its header says
    assert not found.noticed


def test_options_say_what_a_file_does_not(tmp_path):
    path = write_table(tmp_path / "a.csv", scale=200, head="")
    (found,) = read_recordings(path, leads=SIX, sampling_rate=RATE, unit="200/mV")
    np.testing.assert_allclose(found.signals, ecg(SIX), atol=1e-6)
    (found,) = read_recordings(path, leads=["I", *"-----"], sampling_rate=RATE, unit="200/mV")
    assert found.leads == ("I",)
    assert "left out by you" in " ".join(found.noticed)


def test_folders_and_zip_files_give_all_that_is_in_them(tmp_path):
    (tmp_path / "b").mkdir()
    write_wfdb(tmp_path / "b", "one")
    write_cinc(tmp_path)
    write_edf(tmp_path / "c.edf")
    write_dicom(tmp_path / "1.2.840")
    for name in ("README.md", "notes.txt", "e.dat", "f.zip", "._c.edf"):
        (tmp_path / name).write_text("3 of no interest\n")
    packed = tmp_path.parent / f"{tmp_path.name}.zip"
    with zipfile.ZipFile(packed, "w") as file:
        for path in sorted(tmp_path.rglob("*.*")):
            file.write(path, path.relative_to(tmp_path))
    said = "left out, since of no form that is read: README.md, e.dat, f.zip and 1 more"
    for source in (tmp_path, packed):
        found = {one.name: one for one in read_recordings(source)}
        assert list(found) == ["1.2.840", "HR00001", "b/one", "c"]
        np.testing.assert_allclose(found["HR00001"].signals, ecg(), atol=1e-9)
        assert [one.noticed for one in found.values()] == [(said,), (), (), ()]


def test_one_bad_file_does_not_hide_the_others(tmp_path):
    write_edf(tmp_path / "a.edf")
    (tmp_path / "b.csv").write_text("I,II\n1,2\n3\n")
    good, bad = iter_recordings(tmp_path)
    assert good.name == "a"
    assert isinstance(bad, LeadminError)
    assert "b.csv" in str(bad)
    with pytest.raises(LeadminError, match=r"b\.csv"):
        read_recordings(tmp_path)


def test_missing_samples_are_nan_and_a_wrong_checksum_counts_where_the_lead_is_read(tmp_path):
    signal = ecg()
    signal[2, 100] = -(2**15) / 1000
    path = write_wfdb(tmp_path, signal=signal)
    assert np.argwhere(np.isnan(read_recordings(path)[0].signals)).tolist() == [[2, 100]]
    digital = np.fromfile(path.with_suffix(".dat"), "<i2")
    digital[12 * 100 + 2] = 7
    digital.tofile(path.with_suffix(".dat"))
    with pytest.raises(LeadminError, match=r"a\.hea: channel 3 \(III\): its samples add up to"):
        read_recordings(path)
    assert len(read_recordings(path, leads=["I", "II", "-", *LEADS[3:]])[0].leads) == 11


@pytest.mark.parametrize(
    ("label", "lead"),
    [
        *(("EKG-V1", "V1"), ("ECG: aVF", "aVF"), ("I (Einthoven)", "I"), ("II (mV)", "II")),
        *(("ECG 1", "number of a channel"), ("EKG2", "number of a channel")),
        *(("(-)aVR", "brackets"), ("aVR (inv)", "brackets"), ("ECG -aVR", "turn the sign")),
    ],
)
def test_a_label_is_read_as_a_lead_only_if_it_says_nothing_more(tmp_path, label, lead):
    path = write_edf(tmp_path / "a.edf", ["I"], label=label)
    if lead in LEADS:
        assert read_recordings(path)[0].leads == (lead,)
    else:
        with pytest.raises(LeadminError, match=lead):
            read_recordings(path)


@pytest.mark.parametrize(
    ("unit", "cells", "parted"),
    [
        ("µV", "987 1.234 -12 -1.050", True), ("µV", "987 1,234 -12", True),
        ("mV", "0.123 1 0 1.234", False), ("µV", "2.5 1250 -1252.5", False),
        ("µV", "987 1.25 -12", False), ("mV", "1,234 0,987 0", False),
    ],
)  # fmt: skip
def test_thousands_that_are_parted_are_not_taken_for_fractions(tmp_path, unit, cells, parted):
    rows = [f"{t / 500:.3f};{cell}" for t, cell in enumerate(cells.split())]
    path = _text(tmp_path / "a.csv", "\n".join([f"t (s);V1 ({unit})", *rows]))
    found = next(iter_recordings(path))
    assert (isinstance(found, LeadminError) and "as if thousands were" in str(found)) == parted


@pytest.mark.parametrize("path", [None, 5, b"a.csv", "x" * 5000, ["a.csv"]])
def test_what_names_no_file_is_refused(path):
    with pytest.raises(LeadminError, match=r"valid: the name of a file|check the name"):
        read_recordings(path)


def test_a_name_that_is_no_unicode_can_be_printed(tmp_path):
    write_edf(tmp_path / os.fsdecode(b"a\xff.edf"))
    assert [one.name for one in read_recordings(tmp_path)] == [r"a\udcff"]


def test_a_channel_that_is_no_voltage_is_left_out_and_said(tmp_path):
    x = ecg(["I"])
    edfio.Edf(
        [
            edfio.EdfSignal(x[0], RATE, label="I", physical_dimension="mV"),
            edfio.EdfSignal(40 * x[0], RATE, label="Resp", physical_dimension="Ohm"),
        ]
    ).write(tmp_path / "a.edf")
    (found,) = read_recordings(tmp_path / "a.edf")
    assert found.leads == ("I",)
    assert found.noticed == ("channel Resp in Ohm is no lead and is left out",)


def _zip(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members:
            file.writestr(name, content)
    return path


BOMB = '<!DOCTYPE a [<!ENTITY x "xxxxxxxxxx">]><a>&x;</a>'
REFUSED = {
    "no such file": (lambda f: f / "none.csv", "no such file"),
    "an unknown form": (lambda f: _text(f / "a.scp", "x"), r"valid: WFDB .*EDF.*Apple Watch"),
    "an empty folder": (lambda f: f, "nothing in it is read; it is empty"),
    "xml of another maker": (lambda f: _text(f / "a.xml", "<RestingECG/>"), "valid: AnnotatedECG"),
    "entities": (lambda f: _text(f / "a.xml", BOMB), "no XML that is read.*without DTD"),
    "a zip that climbs out": (lambda f: _zip(f / "a.zip", [("../../b.csv", "I\n1\n")]), "safety"),
    "a zip with a bomb": (lambda f: _zip(f / "a.zip", [("a.csv", b"0" * (2**29 + 1))]), "bytes"),
    "a header of terabytes": (lambda f: _text(f / "a.hea", "a 1 500 999999999999\n"
                              "a.dat 16 200/mV 16 0 0 0 0 I\n"), "999999999999 samples; valid"),
    "a header without gain": (lambda f: _text(f / "a.hea", "a 1 500 100\na.dat 16\n"), "no gain"),
    "a signal file elsewhere": (lambda f: _text(f / "a.hea", "a 1 500 100\n"
                                "../a.dat 16 200/mV 16 0 0 0 0 I\n"), "signal 1 is"),
    "signals that are missing": (lambda f: _text(f / "a.hea", "a 1 500 100\n"
                                 "a.dat 16 200/mV 16 0 0 0 0 I\n"), r"a\.dat: there is no such"),
    "signals too short": (lambda f: _cut(write_wfdb(f), ".dat"), "asks for"),
    "edf cut short": (lambda f: _cut(write_edf(f / "a.edf")), "announces"),
    "signals too long": (lambda f: _cut(write_wfdb(f), ".dat", b"\0" * 24), "asks for"),
    "signals of another format": (lambda f: _swapped(write_wfdb(f), " 16 1000", " 61 1000"),
                                  r"channel 1 .I.: its samples add up"),
    "fewer signals": (lambda f: _swapped(write_wfdb(f), "5000\n", "2500\n"), "the 60000 that"),
    "dicom without waveform": (lambda f: write_dicom(f / "a.dcm", WaveformOriginality="DERIVED"),
                               "no original waveform"),
    "dicom of telephony": (lambda f: write_dicom(f / "a.dcm", WaveformBitsAllocated=8,
                           WaveformSampleInterpretation="MB"), "stored as .8, 'MB'"),
    "dicom with more samples": (lambda f: write_dicom(f / "a.dcm", NumberOfWaveformSamples=2500),
                                "120000 bytes .* valid: 60000"),
    "dicom with a skew": (lambda f: write_dicom(f / "a.dcm", channel=[("ChannelTimeSkew", ".5")]),
                          "Lead I .* has a skew"),
    "dicom without unit": (lambda f: write_dicom(f / "a.dcm", unit="1"),
                           "no lead of an ECG .channel Lead I in 1 is no lead.*valid: one or more"),
    "edf in another unit": (lambda f: write_edf(f / "a.edf", scale=1.0), "0.0015 mV if .* is uV"),
    "a header alone": (lambda f: _text(f / "a.csv", "time,I (mV)\n"), "and no numbers"),
    "time in ms, unsaid": (lambda f: _text(f / "a.csv", "time,I (mV)\n0,1\n2,3\n4,1\n"),
                           r"'time' gives 0\.5 Hz if.*'time \(ms\)'.*'sample'.*--rate"),
    "a column of no lead": (lambda f: _text(f / "a.csv", "t,I (mV),label\n0,1,0\n.002,3,0\n"),
                            "channel 2: lead: there is no 'label'"),
    "no rate": (lambda f: write_table(f / "a.csv"), "sampling rate is missing.*--rate"),
    "no unit": (lambda f: write_table(f / "a.csv", time=np.arange(5000) / RATE,
                head=["time", *SIX]), "channel 1 .I.: its unit is missing.*--unit"),
    "a gap in time": (lambda f: write_table(f / "a.csv", head=["time", *SIX], time=np.delete(
                      np.arange(5001) / RATE, 900)), "not even .near row 900"),
    "an unknown lead": (lambda f: write_table(f / "a.csv", time=np.arange(5000) / RATE, head=[
                        "time", "MLII_mV", *SIX[1:]]), "channel 1: lead: there is no 'MLII'"),
    "a lead twice": (lambda f: write_table(f / "a.csv", time=np.arange(5000) / RATE, head=[
                     "time", "II_mV", *(f"{n}_mV" for n in SIX[1:])]), "II stands there more than"),
    "a turned lead": (lambda f: _text(f / "a.xml", aecg_text().replace("LEAD_AVR", "LEAD_-AVR")),
                      "turn the"),
    "text in a table": (lambda f: _text(f / "a.csv", "time,I\n0,1\n0.1,x\n"), "not all numbers"),
    "scales of another kind": (lambda f: write_aecg(f / "a.xml", scale='value="1" unit="mmHg"'),
                               "one unit"),
    "a number of no end": (lambda f: _text(f / "a.hea", "a 1 500 100\na.dat 16x" + 5000 * "1"
                           + " 200/mV 16 0 0 0 0 I\n"), "signal 1 is"),
    "an unknown unit of time": (lambda f: write_aecg(f / "a.xml", increment='value="2" unit="min"'),
                                "time goes on by 2 min; valid: more than 0 s"),
    "no unit of time": (lambda f: write_aecg(f / "a.xml", increment='value="2"'), "no 'unit'"),
    "no origin": (lambda f: _text(f / "a.xml", aecg_text().replace("<origin", "<other")),
                  "LEAD_I: origin has no 'value'"),
}  # fmt: skip


def _text(path, text):
    path.write_text(text)
    return path


def _cut(path, suffix=None, more=None):
    cut = path.with_suffix(suffix) if suffix else path
    content = cut.read_bytes()
    cut.write_bytes(content[:-100] if more is None else content + more)
    return path


def _swapped(path, old, new):
    return _text(path, path.read_text().replace(old, new))


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_read_is_refused_with_file_and_field(tmp_path, case):
    write, message = REFUSED[case]
    path = write(tmp_path)
    with pytest.raises(LeadminError, match=message) as caught:
        read_recordings(path)
    assert str(path.with_suffix("")) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"leads": SIX[:5]}, "5 leads are named for 6 channels"),
        ({"leads": [*SIX[:5], "II"]}, "II stands there more than once"),
        ({"leads": "I,II"}, "a list of names"),
        ({"sampling_rate": 250}, "500 Hz in the file and 250 Hz in the option"),
        ({"sampling_rate": float("nan")}, "sampling_rate is 'nan'"),
        ({"unit": "mV"}, "unit is uV in the file and mV in the option"),
        ({"unit": "mmHg"}, "valid: mV, uV, µV, V"),
    ],
)
def test_options_that_contradict_the_file_are_refused(tmp_path, options, message):
    path = write_edf(tmp_path / "a.edf")
    with pytest.raises(LeadminError, match=message):
        read_recordings(path, **options)


@pytest.mark.parametrize("library", ["edfio", "pydicom", "defusedxml", "pyarrow"])
def test_a_missing_library_is_named(tmp_path, monkeypatch, library):
    path = {
        "edfio": lambda: write_edf(tmp_path / "a.edf"),
        "pydicom": lambda: write_dicom(tmp_path / "a.dcm"),
        "defusedxml": lambda: write_aecg(tmp_path / "a.xml"),
        "pyarrow": lambda: write_parquet(tmp_path / "a.parquet"),
    }[library]()
    monkeypatch.setitem(__import__("sys").modules, library, None)
    with pytest.raises(LeadminError, match=rf'{library} is not.*pip install -e "\.\[files\]"'):
        read_recordings(path)


@pytest.mark.parametrize("unit", ["MV", "kV", "", None, 3, "0/mV", "200/mmHg", "m V", "1e99/mV/s"])
def test_other_units_are_refused(unit):
    with pytest.raises(LeadminError, match="valid: mV"):
        millivolts(unit)
