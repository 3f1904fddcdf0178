# Programs with a main of their own: exit status 0 is a pass, 77 a skip. They run under every sanitizer. What is
# also worth running under ThreadSanitizer is named in THREAD_TESTS too (see tests/local.mk). For each:
#   SIM_TESTS += tests/sim/NAME
#   tests_sim_NAME_SOURCES = tests/sim/NAME.cpp
#   tests_sim_NAME_CXXFLAGS = $(test_cxxflags)
#   tests_sim_NAME_LDADD = libmsslproto.la
