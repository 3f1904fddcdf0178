# tests/fuzz/fuzz_NAME.cpp defines LLVMFuzzerTestOneInput. With --enable-fuzzers it becomes a libFuzzer program; in
# every other build the same file gets a main that runs what lies in tests/fuzz/corpus/NAME, so each input that
# once broke something is a test for ever. For each:
#   FUZZ_TESTS += tests/fuzz/fuzz_NAME
#   tests_fuzz_fuzz_NAME_SOURCES = tests/fuzz/fuzz_NAME.cpp $(fuzz_main)
#   tests_fuzz_fuzz_NAME_CXXFLAGS = $(test_cxxflags)
#   tests_fuzz_fuzz_NAME_LDADD = libmsslproto.la $(FUZZ_ENGINE)
#   EXTRA_DIST += tests/fuzz/corpus/NAME
if FUZZERS
fuzz_main =
else
fuzz_main = tests/fuzz/standalone.cpp
endif
EXTRA_DIST += tests/fuzz/standalone.cpp

.PHONY: fuzzers
fuzzers: $(FUZZ_TESTS)
