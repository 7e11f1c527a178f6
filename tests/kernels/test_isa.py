"""Instruction sets: the best there is, or the one that is asked for, or an error."""

import llvmlite.binding as llvm
import pytest

from qengine.kernels import isa


def features(monkeypatch, *names):
    monkeypatch.setattr(llvm, "get_host_cpu_features", lambda: dict.fromkeys(names, True))
    isa.available.cache_clear()


@pytest.fixture(autouse=True)
def forget(monkeypatch):
    monkeypatch.delenv(isa.VARIABLE, raising=False)
    yield
    monkeypatch.undo()
    isa.available.cache_clear()


def test_what_there_is(monkeypatch):
    features(monkeypatch, *isa.AVX512VNNI.requires, *isa.AVX2.requires)
    assert isa.available() == (isa.AVX512VNNI, isa.AVX2, isa.GENERIC)
    assert isa.choose(None) is isa.AVX512VNNI
    features(monkeypatch, *isa.AVX2.requires)
    assert isa.choose(None) is isa.AVX2
    features(monkeypatch)
    assert isa.choose(None) is isa.GENERIC


def test_one_missing_feature_is_enough(monkeypatch):
    features(monkeypatch, *[name for name in isa.AVX512VNNI.requires if name != "avx512vnni"], *isa.AVX2.requires)
    assert isa.AVX512VNNI not in isa.available()


def test_it_is_forced_or_fails(monkeypatch):
    features(monkeypatch, *isa.AVX2.requires)
    monkeypatch.setenv(isa.VARIABLE, "generic")
    assert isa.choose(None) is isa.GENERIC
    assert isa.choose("avx2") is isa.AVX2
    assert isa.choose("reference") is None
    with pytest.raises(ValueError, match="this CPU has no avx512vnni; here there are avx2, generic, reference"):
        isa.choose("avx512vnni")
    monkeypatch.setenv(isa.VARIABLE, "avx512")
    with pytest.raises(ValueError, match="no isa is named 'avx512'"):
        isa.choose(None)
