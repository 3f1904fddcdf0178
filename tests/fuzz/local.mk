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
run_fuzzer = run() { \
	mkdir -p corpus/$$name; \
	$$1 -max_total_time=$(FUZZ_SECONDS) -timeout=25 corpus/$$name $(srcdir)/tests/fuzz/corpus/$$name; }
else
fuzz_main = tests/fuzz/standalone.cpp
run_fuzzer = run() { srcdir=$(srcdir) $$1; }
endif
EXTRA_DIST += tests/fuzz/standalone.cpp

FUZZ_TESTS += tests/fuzz/fuzz_client_hello
tests_fuzz_fuzz_client_hello_SOURCES = tests/fuzz/fuzz_client_hello.cpp $(fuzz_main)
tests_fuzz_fuzz_client_hello_CXXFLAGS = $(test_cxxflags)
tests_fuzz_fuzz_client_hello_LDADD = libproxy.la $(FUZZ_ENGINE)
EXTRA_DIST += tests/fuzz/corpus/client_hello

FUZZ_TESTS += tests/fuzz/fuzz_frame
tests_fuzz_fuzz_frame_SOURCES = tests/fuzz/fuzz_frame.cpp $(fuzz_main)
tests_fuzz_fuzz_frame_CXXFLAGS = $(test_cxxflags)
tests_fuzz_fuzz_frame_LDADD = libmsslproto.la $(FUZZ_ENGINE)
EXTRA_DIST += tests/fuzz/corpus/frame

FUZZ_TESTS += tests/fuzz/fuzz_hello
tests_fuzz_fuzz_hello_SOURCES = tests/fuzz/fuzz_hello.cpp $(fuzz_main)
tests_fuzz_fuzz_hello_CXXFLAGS = $(test_cxxflags)
tests_fuzz_fuzz_hello_LDADD = libmsslproto.la $(FUZZ_ENGINE)
EXTRA_DIST += tests/fuzz/corpus/hello

FUZZ_TESTS += tests/fuzz/fuzz_http
tests_fuzz_fuzz_http_SOURCES = tests/fuzz/fuzz_http.cpp $(fuzz_main)
tests_fuzz_fuzz_http_CXXFLAGS = $(test_cxxflags)
tests_fuzz_fuzz_http_LDADD = libproxy.la $(FUZZ_ENGINE)
EXTRA_DIST += tests/fuzz/corpus/http

FUZZ_TESTS += tests/fuzz/fuzz_key_share
tests_fuzz_fuzz_key_share_SOURCES = tests/fuzz/fuzz_key_share.cpp $(fuzz_main)
tests_fuzz_fuzz_key_share_CXXFLAGS = $(test_cxxflags)
tests_fuzz_fuzz_key_share_LDADD = libmsslproto.la $(FUZZ_ENGINE)
EXTRA_DIST += tests/fuzz/corpus/key_share

FUZZ_TESTS += tests/fuzz/fuzz_objects
tests_fuzz_fuzz_objects_SOURCES = tests/fuzz/fuzz_objects.cpp $(fuzz_main)
tests_fuzz_fuzz_objects_CXXFLAGS = $(test_cxxflags)
tests_fuzz_fuzz_objects_LDADD = libmsslproto.la $(FUZZ_ENGINE)
EXTRA_DIST += tests/fuzz/corpus/objects

FUZZ_TESTS += tests/fuzz/fuzz_resolve
tests_fuzz_fuzz_resolve_SOURCES = tests/fuzz/fuzz_resolve.cpp $(fuzz_main)
tests_fuzz_fuzz_resolve_CXXFLAGS = $(test_cxxflags)
tests_fuzz_fuzz_resolve_LDADD = libmsslproto.la $(FUZZ_ENGINE)
EXTRA_DIST += tests/fuzz/corpus/resolve

FUZZ_TESTS += tests/fuzz/fuzz_session
tests_fuzz_fuzz_session_SOURCES = tests/fuzz/fuzz_session.cpp $(fuzz_main)
tests_fuzz_fuzz_session_CXXFLAGS = $(test_cxxflags)
tests_fuzz_fuzz_session_LDADD = libmsslproto.la $(FUZZ_ENGINE)
EXTRA_DIST += tests/fuzz/corpus/session

FUZZ_TESTS += tests/fuzz/fuzz_socks
tests_fuzz_fuzz_socks_SOURCES = tests/fuzz/fuzz_socks.cpp $(fuzz_main)
tests_fuzz_fuzz_socks_CXXFLAGS = $(test_cxxflags)
tests_fuzz_fuzz_socks_LDADD = libproxy.la $(FUZZ_ENGINE)
EXTRA_DIST += tests/fuzz/corpus/socks

.PHONY: fuzzers
fuzzers: $(FUZZ_TESTS)

# A few seconds of each over its corpus; without libFuzzer the corpus alone. What is found new stays in the build tree.
FUZZ_SECONDS = 5
.PHONY: check-fuzz
check-fuzz: $(FUZZ_TESTS)
	@$(run_fuzzer); \
	for program in $(FUZZ_TESTS); do \
		name=$${program##*/fuzz_}; \
		echo "$$program"; \
		run $$program >fuzz_$$name.log 2>&1 || { tail -n 60 fuzz_$$name.log; exit 1; }; \
	done

# Writes the seeds anew, after a message has changed.
EXTRA_PROGRAMS = tests/fuzz/make-seeds
tests_fuzz_make_seeds_SOURCES = tests/fuzz/make_seeds.cpp tests/unit/frame_samples.h
tests_fuzz_make_seeds_CXXFLAGS = $(test_cxxflags)
tests_fuzz_make_seeds_LDADD = libmsslproto.la
.PHONY: seeds
seeds: tests/fuzz/make-seeds
	tests/fuzz/make-seeds $(srcdir)/tests/fuzz/corpus
