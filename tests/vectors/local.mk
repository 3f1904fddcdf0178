# Scripts and data of tests/vectors, one a line, sorted.
if !FUZZERS
if !TSAN
TESTS += tests/vectors/vectors-hold
endif
endif

EXTRA_DIST += \
	tests/vectors/README \
	tests/vectors/aes_gcm.py \
	tests/vectors/certificates.py \
	tests/vectors/ed25519.py \
	tests/vectors/frame_vectors.py \
	tests/vectors/frames.vec \
	tests/vectors/head.vec \
	tests/vectors/key_share.vec \
	tests/vectors/key_share_vectors.py \
	tests/vectors/make_vectors.py \
	tests/vectors/manifest.vec \
	tests/vectors/merkle.vec \
	tests/vectors/merkle_vectors.py \
	tests/vectors/mssl_frames.py \
	tests/vectors/mssl_key_share.py \
	tests/vectors/mssl_protocol.py \
	tests/vectors/mssl_seal_key.py \
	tests/vectors/object_vectors.py \
	tests/vectors/resolved.vec \
	tests/vectors/seal_key.vec \
	tests/vectors/seal_key_vectors.py \
	tests/vectors/ticket.vec \
	tests/vectors/vector_lines.py \
	tests/vectors/vectors-hold \
	$(end_of_list)
