from zip_keras.utils.environment import machine, vector_units, versions


def test_the_newest_vector_units_count():
    assert vector_units({"sse2", "avx", "avx2", "avx512f", "avx512_bf16"}) == "AVX-512 with bf16"
    assert vector_units({"sse2", "avx", "avx2"}) == "AVX2"
    assert vector_units({"fp", "asimd"}) == "NEON"
    assert vector_units(set()) == "unknown"


def test_what_is_named_is_there():
    assert machine()["cores"] >= 1
    assert versions()["keras"][0].isdigit()
