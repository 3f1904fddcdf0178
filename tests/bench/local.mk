# Scripts and data of tests/bench, one a line, sorted.
EXTRA_DIST += \
	tests/bench/bench \
	tests/bench/meter.py \
	tests/bench/parts.py \
	tests/bench/place.py \
	tests/bench/provider.py \
	$(end_of_list)

# What is measured is what is installed. BENCH_PARTS: some of `transfers hash small idle memory handshakes digest`.
bench_root = $(abs_builddir)/bench-root
BENCH_PARTS =

EXTRA_PROGRAMS += tests/bench/handshake-rate
tests_bench_handshake_rate_SOURCES = tests/bench/handshake_rate.cpp
tests_bench_handshake_rate_LDADD = libmsslproto.la

bench: all tests/bench/handshake-rate
	rm -rf $(bench_root)
	$(MAKE) $(AM_MAKEFLAGS) -s install DESTDIR=$(bench_root) >/dev/null
	MSSLPROXY=$(bench_root)$(sbindir)/msslproxy MSSL=$(bench_root)$(bindir)/mssl \
	MSSL_MODULES=$(bench_root)$(modulesdir) HANDSHAKE_RATE=$(abs_builddir)/tests/bench/handshake-rate \
	BENCH_JSON=$${BENCH_JSON:-$(abs_builddir)/bench.json} $(top_srcdir)/tests/bench/bench $(BENCH_PARTS)

clean-local: clean-bench
clean-bench:
	rm -rf $(bench_root) $(abs_builddir)/bench.json tests/bench/handshake-rate$(EXEEXT)
.PHONY: bench clean-bench
