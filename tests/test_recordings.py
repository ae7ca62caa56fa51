"""Files that people have: each form is written here, and read back as the same millivolts."""

import sys
import zipfile
from csv import QUOTE_ALL
from functools import partial

import edfio
import numpy as np
import pandas as pd
import pytest
import wfdb
from pydicom import examples
from trouble import refused

from leadmin.data.recordings import iter_recordings, read_recordings
from leadmin.data.recordings.recording import millivolts
from leadmin.errors import LeadminError
from leadmin.leads import LEADS

RATE = 500
TIME = np.arange(5000) / RATE
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


def write_wfdb(
    path, leads=LEADS, signal=None, rate=RATE, gain=1000, baseline=0, fmt="16", comments=None
):
    signal = ecg(leads) if signal is None else signal
    digital = np.rint(signal.T * gain).astype(np.int64) + baseline
    n = len(leads)
    wfdb.wrsamp(
        path.stem, rate, ["mV"] * n, list(leads), d_signal=digital, fmt=[fmt] * n,
        adc_gain=[gain] * n, baseline=[baseline] * n, comments=comments, write_dir=path.parent,
    )  # fmt: skip
    return path


def write_cinc(path, leads=LEADS):
    """As the challenges of 2020 and 2021 store a record: a MATLAB file behind 24 bytes."""
    data = write_wfdb(path, leads, comments=["Age: 63"]).with_suffix(".dat")
    path.with_suffix(".mat").write_bytes(b"\0" * 24 + data.read_bytes())
    data.unlink()
    return _swapped(path, ".dat 16 ", ".mat 16x1+24 ")


def table(leads=LEADS, clock="time (s)", named="{} (mV)", time=TIME, scale=1.0):
    """Voltages in columns beside a clock, which may be without a name and then is not there."""
    columns = {clock: time} if clock else {}
    for lead, row in zip(leads, ecg(leads), strict=True):
        columns[named.format(lead)] = scale * row
    return pd.DataFrame(columns)


def write_table(path, csv=None, **options):
    csv = {"index": False, "float_format": "%.6f"} | (csv or {})
    table(**options).to_csv(path, **csv)
    return path


def write_parquet(path, **options):
    table(**options).to_parquet(path)
    return path


def write_edf(path, leads=LEADS, unit="uV", scale=1000.0, label="ECG {}"):
    signals = [
        edfio.EdfSignal(
            scale * row, RATE, label=label.format(lead), physical_dimension=unit,
            physical_range=(-5 * scale, 5 * scale),
        )
        for lead, row in zip(leads, ecg(leads), strict=True)
    ]  # fmt: skip
    edfio.Edf(signals).write(path)
    return path


NAMED = {"I": "Lead I (Einthoven)", "aVR": "aVR, augmented voltage, right"}


def write_dicom(path, leads=LEADS, unit="uV", channel=None, **change):
    """A file of an electrocardiograph, with other voltages in it.

    Voltage = stored * sensitivity + baseline, in microvolts (PS3.3, C.10.9).
    """
    stored = np.rint((1000 * ecg(leads) - 300) / 2.5).astype("<i2")
    dataset = examples.waveform
    del dataset.WaveformSequence[1]  # a median beat
    (group,) = dataset.WaveformSequence
    group.NumberOfWaveformChannels, group.NumberOfWaveformSamples = stored.shape
    group.SamplingFrequency, group.WaveformData = RATE, stored.T.tobytes()
    group.update(change)
    channels = group.ChannelDefinitionSequence = group.ChannelDefinitionSequence[: len(leads)]
    for lead, one in zip(leads, channels, strict=True):
        one.ChannelSensitivity, one.ChannelBaseline = 2.5, 300
        one.ChannelSensitivityUnitsSequence[0].CodeValue = unit
        one.ChannelSourceSequence[0].CodeMeaning = NAMED.get(lead, f"Lead {lead}")
        one.update(channel or {})
    dataset.save_as(path)
    return path


def write_aecg(
    path, leads=LEADS, increment='value="0.002" unit="s"', scale='value="2.5" unit="uV"'
):
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
    return _text(
        path,
        '<?xml version="1.0" encoding="UTF-8"?><AnnotatedECG xmlns="urn:hl7-org:v3" '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><component><series><component>'
        f"<sequenceSet>{''.join(sequences)}</sequenceSet></component></series></component>"
        "</AnnotatedECG>",
    )


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


FORMS = {
    "wfdb": (write_wfdb, "a.hea", {}),
    "wfdb, another gain and zero": (write_wfdb, "a.hea", {"gain": 200, "baseline": 1024}),
    "wfdb 212": (write_wfdb, "a.hea", {"fmt": "212"}),
    "wfdb 32, its range in full": (write_wfdb, "a.hea", {"fmt": "32", "gain": 1_000_000_000}),
    "wfdb with a byte-order mark": (lambda p: _text(p, "\ufeff" + write_wfdb(p).read_text()),
                                    "a.hea", {}),
    "cinc": (write_cinc, "HR00001.hea", {}),
    "cinc by its signals": (lambda p: write_cinc(p).with_suffix(".mat"), "HR00001.hea", {}),
    "csv": (write_table, "a.csv", {}),
    "csv in microvolts, ms": (write_table, "a.csv", {
        "clock": "t [ms]", "named": "Lead {}_uV", "time": 1000 * TIME, "scale": 1000}),
    "csv with decimal commas": (write_table, "a.csv", {
        "clock": "Zeit (s)", "csv": {"sep": ";", "decimal": ","}}),
    "tsv": (write_table, "a.tsv", {"clock": "seconds", "named": "{}[mV]", "csv": {"sep": "\t"}}),
    "csv with quoted commas": (write_table, "a.csv", {
        "clock": "time", "named": "{}/mV", "csv": {"decimal": ",", "quoting": QUOTE_ALL}}),
    "parquet": (write_parquet, "a.parquet", {}),
    "edf": (write_edf, "a.edf", {}),
    "edf in mV": (write_edf, "a.edf", {"unit": "mV", "scale": 1.0}),
    "dicom": (write_dicom, "a.dcm", {}),
    "dicom without suffix": (write_dicom, "IM0001", {}),
    "aecg": (write_aecg, "a.xml", {}),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_a_form_gives_the_voltages_that_were_written(tmp_path, form):
    write, name, options = FORMS[form]
    (found,) = read_recordings(write(tmp_path / name, **options))
    assert found.leads == LEADS
    assert found.sampling_rate == RATE
    assert found.seconds == 10
    tolerance = 0.0026 if "another" in form else 0.0013
    np.testing.assert_allclose(found.signals, ecg(), atol=tolerance)
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
    path = write_table(tmp_path / "a.csv", {"header": False}, leads=LIMB, clock="", scale=200)
    (found,) = read_recordings(path, leads=LIMB, sampling_rate=RATE, unit="200/mV")
    np.testing.assert_allclose(found.signals, ecg(LIMB), atol=1e-6)
    (found,) = read_recordings(path, leads=["I", *"-----"], sampling_rate=RATE, unit="200/mV")
    assert found.leads == ("I",)
    assert "left out by you" in " ".join(found.noticed)


def test_folders_and_zip_files_give_all_that_is_in_them(tmp_path):
    (tmp_path / "b").mkdir()
    write_wfdb(tmp_path / "b" / "one.hea")
    write_cinc(tmp_path / "HR00001.hea")
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
    refused(r"b\.csv", read_recordings, tmp_path)


def test_missing_samples_are_nan_and_a_wrong_checksum_counts_where_the_lead_is_read(tmp_path):
    signal = ecg()
    signal[2, 100] = -(2**15) / 1000
    path = write_wfdb(tmp_path / "a.hea", signal=signal)
    assert np.argwhere(np.isnan(read_recordings(path)[0].signals)).tolist() == [[2, 100]]
    digital = np.fromfile(path.with_suffix(".dat"), "<i2")
    digital[12 * 100 + 2] = 7
    digital.tofile(path.with_suffix(".dat"))
    refused(r"a\.hea: channel 3 \(III\): its samples add up to", read_recordings, path)
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
        refused(lead, read_recordings, path)


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
    refused(r"valid: the name of a file|check the name", read_recordings, path)


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


BOMB = '<!DOCTYPE a [<!ENTITY x "xxxxxxxxxx">]><a>&x;</a>'
ONE = "16 200/mV 16 0 0 0 0 I\n"
REFUSED = {
    "no such file": ("none.csv", None, "no such file"),
    "an empty folder": ("", None, "nothing in it is read; it is empty"),
    "an unknown form": ("a.scp", "x", r"valid: WFDB .*EDF.*Apple Watch"),
    "xml of another maker": ("a.xml", "<RestingECG/>", "valid: AnnotatedECG"),
    "entities": ("a.xml", BOMB, "no XML that is read.*without DTD"),
    "a zip that climbs out": ("a.zip", lambda p: _zip(p, "../../b.csv", "I\n1\n"), "safety"),
    "a zip with a bomb": ("a.zip", lambda p: _zip(p, "a.csv", bytes(2**29 + 1)), "bytes"),
    "a header of terabytes": ("a.hea", "a 1 500 999999999999\na.dat " + ONE,
                              "999999999999 samples; valid"),
    "a header without gain": ("a.hea", "a 1 500 100\na.dat 16\n", "no gain"),
    "a signal file elsewhere": ("a.hea", "a 1 500 100\n../a.dat " + ONE, "signal 1 is"),
    "a number of no end": ("a.hea", f"a 1 500 100\na.dat 16x{'1' * 5000}{ONE[2:]}", "signal 1 is"),
    "signals that are missing": ("a.hea", "a 1 500 100\na.dat " + ONE,
                                 r"a\.dat: there is no such"),
    "signals too short": ("a.hea", lambda p: _cut(write_wfdb(p), ".dat"), "asks for"),
    "signals too long": ("a.hea", lambda p: _cut(write_wfdb(p), ".dat", bytes(24)), "asks for"),
    "signals of another format": ("a.hea", lambda p: _swapped(write_wfdb(p), " 16 ", " 61 "),
                                  r"channel 1 .I.: its samples add up"),
    "fewer signals": ("a.hea", lambda p: _swapped(write_wfdb(p), "5000\n", "2500\n"),
                      "the 60000 that"),
    "dicom without waveform": ("a.dcm", partial(write_dicom, WaveformOriginality="DERIVED"),
                               "no original waveform"),
    "dicom of telephony": ("a.dcm", partial(write_dicom, WaveformBitsAllocated=8,
                           WaveformSampleInterpretation="MB"), "stored as .8, 'MB'"),
    "dicom with more samples": ("a.dcm", partial(write_dicom, NumberOfWaveformSamples=2500),
                                "120000 bytes .* valid: 60000"),
    "dicom with a skew": ("a.dcm", partial(write_dicom, channel={"ChannelTimeSkew": ".5"}),
                          "Lead I .* has a skew"),
    "dicom without unit": ("a.dcm", partial(write_dicom, unit="1"),
                           "no lead of an ECG .channel Lead I in 1 is no lead.*valid: one or more"),
    "edf cut short": ("a.edf", lambda p: _cut(write_edf(p), ".edf"), "announces"),
    "edf in another unit": ("a.edf", partial(write_edf, leads=LIMB, scale=1.0),
                            "0.0015 mV if .* is uV"),
    "a header alone": ("a.csv", "time,I (mV)\n", "and no numbers"),
    "time in ms, unsaid": ("a.csv", "time,I (mV)\n0,1\n2,3\n4,1\n",
                           r"'time' gives 0\.5 Hz if.*'time \(ms\)'.*'sample'.*--rate"),
    "a column of no lead": ("a.csv", "t,I (mV),label\n0,1,0\n.002,3,0\n",
                            "channel 2: lead: there is no 'label'"),
    "text in a table": ("a.csv", "time,I\n0,1\n0.1,x\n", "not all numbers"),
    "no rate": ("a.csv", partial(write_table, clock=""), "sampling rate is missing.*--rate"),
    "no unit": ("a.csv", partial(write_table, named="{}"),
                "channel 1 .I.: its unit is missing.*--unit"),
    "a gap in time": ("a.csv", partial(write_table, time=np.delete(np.arange(5001) / RATE, 900)),
                      "not even .near row 900"),
    "an unknown lead": ("a.csv", lambda p: _swapped(write_table(p), ",I ", ",MLII "),
                        "channel 1: lead: there is no 'MLII'"),
    "a lead twice": ("a.csv", lambda p: _swapped(write_table(p), ",I ", ",II "),
                     "II stands there more than"),
    "a turned lead": ("a.xml", lambda p: _swapped(write_aecg(p), "LEAD_AVR", "LEAD_-AVR"),
                      "turn the"),
    "scales of another kind": ("a.xml", partial(write_aecg, scale='value="1" unit="mmHg"'),
                               "one unit"),
    "an unknown unit of time": ("a.xml", partial(write_aecg, increment='value="2" unit="min"'),
                                "time goes on by 2 min; valid: more than 0 s"),
    "no unit of time": ("a.xml", partial(write_aecg, increment='value="2"'), "no 'unit'"),
    "no origin": ("a.xml", lambda p: _swapped(write_aecg(p), "<origin", "<other"),
                  "LEAD_I: origin has no 'value'"),
}  # fmt: skip


def _text(path, text):
    path.write_text(text)
    return path


def _zip(path, name, content):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(name, content, compresslevel=1)


def _cut(path, suffix, more=None):
    cut = path.with_suffix(suffix)
    content = cut.read_bytes()
    cut.write_bytes(content[:-100] if more is None else content + more)


def _swapped(path, old, new):
    return _text(path, path.read_text().replace(old, new))


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_read_is_refused_with_file_and_field(tmp_path, case):
    name, made, message = REFUSED[case]
    path = tmp_path / name
    if isinstance(made, str):
        path.write_text(made)
    elif made is not None:
        made(path)
    with pytest.raises(LeadminError, match=message) as caught:
        read_recordings(path)
    assert str(path.with_suffix("")) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"leads": LIMB[:5]}, "5 leads are named for 6 channels"),
        ({"leads": [*LIMB[:5], "II"]}, "II stands there more than once"),
        ({"leads": "I,II"}, "a list of names"),
        ({"sampling_rate": 250}, "500 Hz in the file and 250 Hz in the option"),
        ({"sampling_rate": float("nan")}, "sampling_rate is 'nan'"),
        ({"unit": "mV"}, "unit is uV in the file and mV in the option"),
        ({"unit": "mmHg"}, "valid: mV, uV, µV, V"),
    ],
)
def test_options_that_contradict_the_file_are_refused(tmp_path, options, message):
    path = write_edf(tmp_path / "a.edf", LIMB)
    refused(message, read_recordings, path, **options)


@pytest.mark.parametrize(
    ("library", "write", "name"),
    [("edfio", write_edf, "a.edf"), ("pydicom", write_dicom, "a.dcm"),
     ("defusedxml", write_aecg, "a.xml"), ("pyarrow", write_parquet, "a.parquet")],
)  # fmt: skip
def test_a_missing_library_is_named(tmp_path, monkeypatch, library, write, name):
    path = write(tmp_path / name)
    monkeypatch.setitem(sys.modules, library, None)
    refused(rf'{library} is not.*pip install -e "\.\[files\]"', read_recordings, path)


@pytest.mark.parametrize(
    "unit",
    [None, 3, "", ["mV"], {}, "volts per m", "mmHg", "MV", "kV", "m V", "200", "/mV",
     "0/mV", "-5/mV", "200/mmHg", "1e99/mV/s"],
)  # fmt: skip
def test_other_units_are_refused(unit):
    refused("valid: mV", millivolts, unit)
