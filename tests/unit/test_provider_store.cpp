// mssl: URIs by OSSL_STORE: what comes, in which order, and what is said of what cannot be had.
#include <criterion/criterion.h>
#include <openssl/store.h>

#include <filesystem>
#include <fstream>

#include "protocol/identity.h"
#include "provider/reason.h"
#include "tests/unit/provider_fixture.h"

namespace mssl::test {
namespace {

// A site's directory as a client has it, but that all certificates are realms': the store does not look inside.
struct Site {
    Site() {
        char path[] = "/tmp/mssl-site-XXXXXX";
        cr_assert(mkdtemp(path) != nullptr);
        directory = path;
        for (const char* name : {"member", "signer", "realm"}) write(std::string(name) + ".pem", certificate(name));
        const KeyPair key = *KeyPair::generate();
        public_key = key.public_key();
        write("member.key", *key.to_pem());
    }
    ~Site() { std::filesystem::remove_all(directory); }
    static std::string certificate(const char* name) {
        const KeyPair key = *KeyPair::generate();
        return RealmAuthority::make_realm(key, name, WallTime{1'800'000'000})->to_pem();
    }
    void write(const std::string& name, const std::string& text) const { std::ofstream(directory + "/" + name) << text; }
    std::string directory;
    PublicKey public_key;
};

// "cert member", "key", "error"; in order.
std::vector<std::string> all_of(const ProviderHost& host, const Site& site, const std::string& uri, int expected = 0) {
    std::vector<std::string> out;
    ERR_clear_error();
    OSSL_STORE_CTX* store = OSSL_STORE_open_ex(uri.c_str(), host.library(), nullptr, nullptr, nullptr, nullptr, nullptr, nullptr);
    if (store == nullptr) return {"closed"};
    if (expected != 0) cr_assert_eq(OSSL_STORE_expect(store, expected), 1);
    while (OSSL_STORE_eof(store) == 0) {
        OSSL_STORE_INFO* info = OSSL_STORE_load(store);
        if (info == nullptr) {
            if (OSSL_STORE_error(store) == 1) out.push_back("error");
            continue;
        }
        if (OSSL_STORE_INFO_get_type(info) == OSSL_STORE_INFO_CERT) {
            char name[64] = "";
            X509_NAME_get_text_by_NID(X509_get_subject_name(OSSL_STORE_INFO_get0_CERT(info)), NID_commonName, name, sizeof name);
            out.push_back(name);
        } else if (OSSL_STORE_INFO_get_type(info) == OSSL_STORE_INFO_PKEY) {
            PublicKey key;
            std::size_t length = key.bytes.size();
            cr_assert_eq(EVP_PKEY_get_raw_public_key(OSSL_STORE_INFO_get0_PKEY(info), key.bytes.data(), &length), 1);
            cr_assert(key == site.public_key);
            out.push_back("key");
        }
        OSSL_STORE_INFO_free(info);
    }
    OSSL_STORE_close(store);
    return out;
}

using List = std::vector<std::string>;

bool said(provider::Reason reason, std::string_view text) {
    bool found = false;
    const char* detail = nullptr;
    int flags = 0;
    while (const unsigned long error = ERR_get_error_all(nullptr, nullptr, nullptr, &detail, &flags))
        found = found || (ERR_GET_REASON(error) == static_cast<int>(reason) && detail != nullptr &&
                          std::string_view(detail).find(text) != std::string_view::npos);
    return found;
}

}  // namespace

Test(provider_store, a_sites_directory_is_read) {
    const ProviderHost host;
    const Site site;
    const std::string uri = "mssl:" + site.directory;
    cr_assert(all_of(host, site, uri) == List({"member", "key", "signer", "realm"}));
    cr_assert(all_of(host, site, uri, OSSL_STORE_INFO_CERT) == List({"member", "signer", "realm"}));
    cr_assert(all_of(host, site, uri, OSSL_STORE_INFO_PKEY) == List({"key"}));
    cr_assert(all_of(host, site, uri, OSSL_STORE_INFO_CRL).empty());
    for (const char* name : {"member", "key", "signer", "realm"})
        cr_assert(all_of(host, site, uri + "#" + name) == List({name}), "%s", name);
    cr_assert(all_of(host, site, uri + "#key", OSSL_STORE_INFO_CERT).empty());
}

Test(provider_store, what_cannot_be_had_is_said) {
    const ProviderHost host;
    const Site site;
    const std::string uri = "mssl:" + site.directory;
    for (const char* bad : {"mssl:", "mssl:#key", "mssl:/tmp#other", "mssl:/tmp#"}) {
        cr_assert(all_of(host, site, bad) == List({"closed"}), "%s", bad);
        cr_assert(said(provider::Reason::bad_uri, ""), "%s", bad);
    }
    cr_assert(all_of(host, site, "mssl:/nonexistent#key") == List({"error"}));
    cr_assert(said(provider::Reason::unreadable, "/nonexistent/member.key: No such file"));
    struct Row {
        const char* what;
        std::string text;
        const char* said;
    };
    const std::string pem = Site::certificate("x");
    for (const Row& row : {Row{"empty", "", "no PEM"}, Row{"no PEM", "hello\n", "no PEM"}, Row{"a certificate", pem, "no PEM with the label PRIVATE KEY"},
                           Row{"cut off", pem.substr(0, pem.size() / 2), "no PEM"}, Row{"too large", std::string(16 * 1024 + 1, '\n'), "more than 16384 bytes"}}) {
        site.write("member.key", row.text);
        // The certificates are there all the same.
        cr_assert(all_of(host, site, uri) == List({"member", "error", "signer", "realm"}), "%s", row.what);
        cr_assert(said(provider::Reason::unreadable, row.said), "%s", row.what);
    }
    site.write("member.key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    cr_assert(all_of(host, site, uri + "#key") == List({"error"}), "no key inside");
}

}  // namespace mssl::test
