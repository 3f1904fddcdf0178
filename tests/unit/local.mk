# One Criterion program of all tests/unit/test_*.cpp; one file a line, sorted.
if HAVE_CRITERION
if !TSAN
check_PROGRAMS += tests/unit/unit-tests
TESTS += tests/unit/unit.tap
endif
endif
tests_unit_unit_tests_SOURCES = \
	tests/unit/download_fixture.h \
	tests/unit/frame_samples.h \
	tests/unit/hosting_fixture.h \
	tests/unit/loop_thread.h \
	tests/unit/member_fixture.h \
	tests/unit/naive_merkle.h \
	tests/unit/provider_configuration.h \
	tests/unit/provider_fixture.h \
	tests/unit/provider_sides.h \
	tests/unit/somewhere_fixture.h \
	tests/unit/stream_fixture.h \
	tests/unit/test_bitmap.cpp \
	tests/unit/test_breaker.cpp \
	tests/unit/test_buffer_pool.cpp \
	tests/unit/test_bytes.cpp \
	tests/unit/test_catalog.cpp \
	tests/unit/test_client_hello.cpp \
	tests/unit/test_cold_read.cpp \
	tests/unit/test_cold_reads.cpp \
	tests/unit/test_config.cpp \
	tests/unit/test_dialer.cpp \
	tests/unit/test_directory.cpp \
	tests/unit/test_download.cpp \
	tests/unit/test_download_readers.cpp \
	tests/unit/test_enrolment.cpp \
	tests/unit/test_fetch.cpp \
	tests/unit/test_forwarded_site.cpp \
	tests/unit/test_frame.cpp \
	tests/unit/test_freshness.cpp \
	tests/unit/test_hosted_object.cpp \
	tests/unit/test_http_client.cpp \
	tests/unit/test_http_message.cpp \
	tests/unit/test_http_parser.cpp \
	tests/unit/test_identity.cpp \
	tests/unit/test_intercept.cpp \
	tests/unit/test_interception_ca.cpp \
	tests/unit/test_key_share.cpp \
	tests/unit/test_leaf_hash.cpp \
	tests/unit/test_loop.cpp \
	tests/unit/test_member_session.cpp \
	tests/unit/test_merkle.cpp \
	tests/unit/test_neighbours.cpp \
	tests/unit/test_net.cpp \
	tests/unit/test_node_cache.cpp \
	tests/unit/test_objects.cpp \
	tests/unit/test_peer_session.cpp \
	tests/unit/test_possession.cpp \
	tests/unit/test_provider_digest.cpp \
	tests/unit/test_provider_group.cpp \
	tests/unit/test_provider_hybrid.cpp \
	tests/unit/test_provider_membership.cpp \
	tests/unit/test_provider_store.cpp \
	tests/unit/test_read_pace.cpp \
	tests/unit/test_resolve_request.cpp \
	tests/unit/test_resolver.cpp \
	tests/unit/test_result.cpp \
	tests/unit/test_root_origin.cpp \
	tests/unit/test_semantics.cpp \
	tests/unit/test_server_side.cpp \
	tests/unit/test_session.cpp \
	tests/unit/test_socks.cpp \
	tests/unit/test_spread.cpp \
	tests/unit/test_status_page.cpp \
	tests/unit/test_store.cpp \
	tests/unit/test_stream.cpp \
	tests/unit/test_tickets.cpp \
	tests/unit/test_tls.cpp \
	tests/unit/test_tls_gate.cpp \
	tests/unit/test_transfers.cpp \
	tests/unit/test_tree_builder.cpp \
	tests/unit/test_upload.cpp \
	tests/unit/test_uploads.cpp \
	tests/unit/test_vectors.cpp \
	tests/unit/test_vectors_frame.cpp \
	tests/unit/test_vectors_key_share.cpp \
	tests/unit/test_vectors_seal_key.cpp \
	tests/unit/test_wire.cpp \
	tests/unit/tls_fixture.cpp \
	tests/unit/tls_fixture.h \
	tests/unit/token_samples.h \
	tests/unit/vectors.cpp \
	tests/unit/vectors.h \
	$(end_of_list)
# So that the C++ compiler links even while the list is empty.
nodist_EXTRA_tests_unit_unit_tests_SOURCES = none.cpp
tests_unit_unit_tests_CPPFLAGS = $(AM_CPPFLAGS) $(CRITERION_CFLAGS)
# cr_assert(eq(...)) converts.
tests_unit_unit_tests_CXXFLAGS = $(AM_CXXFLAGS) -Wno-conversion
tests_unit_unit_tests_LDADD = libmsslprovider.la libproxy.la $(CRITERION_LIBS)

EXTRA_DIST += tests/unit/unit.tap

SIM_TESTS += tests/unit/tsan-core
THREAD_TESTS += tests/unit/tsan-core
tests_unit_tsan_core_SOURCES = tests/unit/tsan_core.cpp
tests_unit_tsan_core_LDADD = libproxy.la

SIM_TESTS += tests/unit/handshakes
THREAD_TESTS += tests/unit/handshakes
tests_unit_handshakes_SOURCES = tests/unit/handshakes.cpp tests/unit/provider_configuration.h tests/unit/token_samples.h
tests_unit_handshakes_LDADD = libmsslprovider.la libmsslproto.la
