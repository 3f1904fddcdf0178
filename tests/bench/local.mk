# Scripts and data of tests/bench, one a line, sorted.
EXTRA_DIST += \
	tests/bench/bench \
	tests/bench/meter.py \
	tests/bench/parts.py \
	tests/bench/place.py \
	$(end_of_list)

# What is measured is what is installed. BENCH_PARTS: some of `transfers hash small idle memory`.
bench_root = $(abs_builddir)/bench-root
BENCH_PARTS =

bench: all
	rm -rf $(bench_root)
	$(MAKE) $(AM_MAKEFLAGS) -s install DESTDIR=$(bench_root) >/dev/null
	MSSLPROXY=$(bench_root)$(sbindir)/msslproxy MSSL=$(bench_root)$(bindir)/mssl \
	BENCH_JSON=$${BENCH_JSON:-$(abs_builddir)/bench.json} $(top_srcdir)/tests/bench/bench $(BENCH_PARTS)

clean-local: clean-bench
clean-bench:
	rm -rf $(bench_root) $(abs_builddir)/bench.json
.PHONY: bench clean-bench
