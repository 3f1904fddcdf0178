# Scripts and data of tests/e2e, one a line, sorted.
check_PROGRAMS += tests/e2e/liar
tests_e2e_liar_SOURCES = tests/e2e/liar.cpp
tests_e2e_liar_LDADD = libproxy.la

EXTRA_DIST += \
	tests/e2e/cases_capacity.py \
	tests/e2e/cases_changes.py \
	tests/e2e/cases_config.py \
	tests/e2e/cases_disk.py \
	tests/e2e/cases_download.py \
	tests/e2e/cases_failures.py \
	tests/e2e/cases_freshness.py \
	tests/e2e/cases_http.py \
	tests/e2e/cases_https.py \
	tests/e2e/cases_intercept.py \
	tests/e2e/cases_liars.py \
	tests/e2e/cases_private.py \
	tests/e2e/cases_programs.py \
	tests/e2e/cases_same_corners.py \
	tests/e2e/cases_signals.py \
	tests/e2e/cases_smuggling.py \
	tests/e2e/cases_tls.py \
	tests/e2e/cases_ways_in.py \
	tests/e2e/crowd.py \
	tests/e2e/demo \
	tests/e2e/harness.py \
	tests/e2e/http-client.sh \
	tests/e2e/lib.sh \
	tests/e2e/module.py \
	tests/e2e/promises.py \
	tests/e2e/provider.tap \
	tests/e2e/run-all \
	tests/e2e/scene.py \
	tests/e2e/server-proxy.sh \
	tests/e2e/tools.tap \
	tests/e2e/twin.py \
	tests/e2e/twin_asker.py \
	tests/e2e/twin_origin.py \
	$(end_of_list)

# Scripts that need nothing but programs of the system; 77 where one is absent.
TESTS += \
	tests/e2e/http-client.sh \
	tests/e2e/server-proxy.sh

# mssl(1): what needs nginx is skipped without it.
TESTS += tests/e2e/tools.tap

# mssl.so in openssl, nginx, curl and Python.
TESTS += tests/e2e/provider.tap
