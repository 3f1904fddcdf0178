# Programs with a main of their own: exit status 0 is a pass, 77 a skip. They run under every sanitizer. What is
# also worth running under ThreadSanitizer is named in THREAD_TESTS too (see tests/local.mk). For each:
#   SIM_TESTS += tests/sim/NAME
#   tests_sim_NAME_SOURCES = tests/sim/NAME.cpp
#   tests_sim_NAME_CXXFLAGS = $(test_cxxflags)
#   tests_sim_NAME_LDADD = libmsslproto.la

# Speaks TAP, so it is run through a script of that kind.
if !FUZZERS
if !TSAN
check_PROGRAMS += tests/sim/sim-swarm
TESTS += tests/sim/swarm.tap
endif
endif
tests_sim_sim_swarm_SOURCES = \
	tests/sim/client.cpp \
	tests/sim/net.cpp \
	tests/sim/net.h \
	tests/sim/server.cpp \
	tests/sim/sim_swarm.cpp \
	tests/sim/swarm.h \
	$(end_of_list)
tests_sim_sim_swarm_CXXFLAGS = $(test_cxxflags)
tests_sim_sim_swarm_LDADD = libmsslproto.la
EXTRA_DIST += tests/sim/swarm.tap
