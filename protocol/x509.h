// What every certificate of ours is put together from, whoever issues it.
//
// Thread rules: none shared.
#pragma once

#include <string>

#include "protocol/openssl.h"
#include "protocol/types.h"

namespace mssl {

// A read-only BIO over text, which must outlive it.
BioPtr bio_over(std::string_view text);
// What was written to a memory BIO.
std::string text_of(BIO* bio);
// For PEM_read_bio_…: without it OpenSSL asks the terminal for a password.
int no_password(char*, int, int, void*);

// value as in x509v3_config(5); empty: no extension. issuer may be x itself.
bool add_extension(X509* x, X509* issuer, int nid, const std::string& value);
// UTF-8; empty: nothing is added.
bool add_name(X509_NAME* name, const char* field, const std::string& value);
bool set_random_serial(X509* x);  // 16 bytes, positive
bool set_time(ASN1_TIME* t, std::int64_t unix_seconds);
bool unix_time_of(const ASN1_TIME* t, WallTime& out);

}  // namespace mssl
