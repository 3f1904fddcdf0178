// Certificates made for a test, in a directory that goes with it.
#pragma once

#include <filesystem>
#include <string>

#include "protocol/openssl.h"

namespace mssl::test {

class TempDir {
public:
    TempDir();
    ~TempDir();
    TempDir(const TempDir&) = delete;
    TempDir& operator=(const TempDir&) = delete;
    std::string path(const std::string& name) const { return (dir_ / name).string(); }
    // Writes a file, mode 0600, and returns its path. name may have folders in it.
    std::string write(const std::string& name, const std::string& text) const;

private:
    std::filesystem::path dir_;
};

// A self-signed P-256 certificate for alt_name ("DNS:localhost", "IP:127.0.0.1"), valid from days to days from now.
struct TestCertificate {
    TestCertificate(const TempDir& dir, const std::string& name, const std::string& alt_name, int from_days = -1,
                    int to_days = 1);
    std::string certificate_file, key_file;
};

}  // namespace mssl::test
