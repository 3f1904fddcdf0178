// mssl doctor: whether programs with this environment's OpenSSL configuration negotiate mSSL (provider-mssl(7)), and what to do
// where they do not. Each check is one line; the later ones make sense only if the earlier ones hold.
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/params.h>
#include <openssl/provider.h>

#include <algorithm>
#include <cstdio>

#include "tools/openssl_setup.h"
#include "tools/text.h"
#include "tools/tls_probe.h"
#include "tools/verbs.h"

namespace mssl::tools {
namespace {

constexpr const char* kModule = "mssl";
// As dist/mssl.cnf has them: from 3.5 on several key shares, and the hybrids.
const std::string kGroupsLine =
    std::string("Groups = ") + (OpenSSL_version_num() >= 0x30500000UL
                                    ? "*mssl_x25519mlkem768:*X25519MLKEM768:mssl_x25519:X25519:P-256:P-384"
                                    : "mssl_x25519:X25519:P-256:P-384");
constexpr const char* kSnippet = MSSL_MODULESDIR "/mssl.cnf";
// What OpenSSL itself, and the module, read of a provider's section.
const std::vector<std::string_view> kParameters = {"activate", "identity", "module",     "soft_load",
                                                   "realm",    "require",  "token-file", "auth-key-file"};

// Fine, or not with something to do about it.
struct Finding {
    enum class How : std::uint8_t { good, doubtful, bad };
    How how;
    std::string said;
    std::string remedy;
};
Finding good(std::string said) { return {Finding::How::good, std::move(said), {}}; }
Finding doubtful(std::string said, std::string remedy) { return {Finding::How::doubtful, std::move(said), std::move(remedy)}; }
Finding bad(std::string said, std::string remedy) { return {Finding::How::bad, std::move(said), std::move(remedy)}; }

// OSSL_PROVIDER_available(3) of OpenSSL 3.0 says that "default" is there when only others are active.
bool is_active(std::string_view name) {
    struct Sought {
        std::string_view name;
        bool found;
    } sought{name, false};
    OSSL_PROVIDER_do_all(
        nullptr,
        [](OSSL_PROVIDER* provider, void* argument) {
            auto* of = static_cast<Sought*>(argument);
            of->found = of->found || OSSL_PROVIDER_get0_name(provider) == of->name;
            return 1;
        },
        &sought);
    return sought.found;
}

Finding check_configuration(const Result<OpensslSetup>& setup) {
    if (setup) return good(setup->file);
    return bad(setup.error().detail, std::string("set OPENSSL_CONF to ") + kSnippet + ", or to a copy of it");
}

// Why the module is not active, found out by loading it into a library of its own.
Finding module_absent(const OpensslSetup& setup) {
    const LibCtxPtr library(OSSL_LIB_CTX_new());
    const std::string file = setup.module_file.empty() ? kModule : setup.module_file;
    ERR_clear_error();
    if (OSSL_PROVIDER_load(library.get(), file.c_str()) != nullptr) {
        return setup.module_named
                   ? bad("found, and not active", "activate = 1 in section [" + setup.module_section + "]")
                   : bad("found, and not in the configuration",
                         "name mssl among the providers of " + setup.file + ", or set OPENSSL_CONF to " + kSnippet);
    }
    const std::string why = openssl_error(Errc::crypto, "cannot be loaded").detail;
    return bad(why, setup.module_file.empty() ? "set OPENSSL_MODULES to the directory of mssl.so (it was to be installed in " MSSL_MODULESDIR
                                                "), or say module = FILE in its section"
                                              : "mend module = " + setup.module_file + " in section [" + setup.module_section + "]");
}

Finding check_module(const OpensslSetup& setup) {
    if (!is_active(kModule)) return module_absent(setup);
    // Loaded already; this is one more reference to it.
    OSSL_PROVIDER* provider = OSSL_PROVIDER_try_load(nullptr, kModule, 1);
    char* build = nullptr;
    OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_ptr(OSSL_PROV_PARAM_BUILDINFO, &build, 0), OSSL_PARAM_construct_end()};
    const bool told = provider != nullptr && OSSL_PROVIDER_get_params(provider, params) == 1 && build != nullptr;
    const Finding found = good(told ? build : "active");
    OSSL_PROVIDER_unload(provider);
    return found;
}

Finding check_default() {
    if (is_active("default")) return good("active");
    return bad("not active: with any provider in the configuration, this one has to be named as well",
               "default = default_sect among the providers, and a section [default_sect] with activate = 1");
}

// What the module itself says of its parameters, and of names that it never asked for.
Finding check_parameters(const OpensslSetup& setup) {
    for (const auto& [name, value] : setup.parameters) {
        if (std::ranges::find(kParameters, std::string_view(name)) != kParameters.end()) continue;
        const std::string_view near = nearest_word(name, kParameters);
        return bad("no parameter has the name '" + name + "'",
                   near.empty() ? "take it out of section [" + setup.module_section + "]"
                                : "did you mean '" + std::string(near) + "'?");
    }
    OSSL_PROVIDER* provider = OSSL_PROVIDER_try_load(nullptr, kModule, 1);
    char* wrong = nullptr;
    OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_ptr("mssl-error", &wrong, 0), OSSL_PARAM_construct_end()};
    const bool told = provider != nullptr && OSSL_PROVIDER_get_params(provider, params) == 1 && wrong != nullptr;
    const Finding found = told ? bad(wrong, "mend it in section [" + setup.module_section + "]; until then the module refuses all key shares")
                               : good(setup.has("auth-key-file") ? "a server's" : setup.has("token-file") ? "a member's" : "none");
    OSSL_PROVIDER_unload(provider);
    return found;
}

Finding check_group(const OpensslSetup& setup) {
    const Result<Asker> asker = Asker::as_configured();
    const Result<Offered> offered = asker ? offer_of(*asker) : Result<Offered>(asker.error());
    if (!offered) return bad(offered.error().detail, "mend [ssl_sect] in " + setup.file);
    if (!has_ours(offered->groups)) {
        const std::string said = setup.groups.empty() ? "mssl_x25519 is not offered: the configuration sets no groups"
                                                      : "mssl_x25519 is not offered: " + setup.groups;
        const std::string remedy = kGroupsLine + " in the section that system_default of ssl_conf names";
        // Servers, and some clients, list their groups themselves.
        return setup.has("auth-key-file") ? doubtful(said, "fine if the server lists it itself (nginx: ssl_ecdh_curve)")
                                          : bad(said, remedy);
    }
    if (!has_ours(offered->shares))
        return doubtful("mssl_x25519 is offered, but another group comes first: servers that have both take that",
                        "put it first: " + kGroupsLine);
    if (setup.has("token-file") && !(offered->mssl && offered->mssl->token))
        return doubtful("mssl_x25519 is offered, without a token",
                        "token-file: this user must be able to read and write it, and tokens must be left "
                        "that have not ended: mssl member issue");
    const std::uint16_t first = *std::ranges::find_if(offered->shares, [](std::uint16_t id) { return has_ours({id}); });
    const std::string name = first == kX25519.id ? kX25519.name : kX25519MlKem768.name;
    return good(name + " is offered" + (offered->mssl && offered->mssl->token ? ", with a token" : ""));
}

Finding check_server(const Endpoint& at, const std::string& name) {
    Result<Asker> asker = Asker::as_configured();
    if (!asker) return bad(asker.error().detail, "see above");
    const Result<Agreed> agreed = agree(*asker, at, name);
    if (!agreed && agreed.code() != Errc::crypto) return bad(agreed.error().detail, "is a server running there?");
    if (!agreed && agreed.error().detail.find("alert illegal parameter") != std::string::npos)
        return bad(agreed.error().detail, "the server refuses this key share: it admits members only (token-file), or its module's "
                                          "parameters are wrong, which its log says");
    if (!agreed) return bad(agreed.error().detail, "mssl_x25519 and X25519 are what a server there should take");
    const std::string said = agreed->version + ", " + (agreed->group.empty() ? "no group" : agreed->group);
    if (agreed->is_ours()) return good(said);
    if (Status s = asker->take_groups(kX25519.name); !s) return bad(s.error().detail, "see above");
    if (agree(*asker, at, name)) return bad(said + ", though the server has mssl_x25519", "put it first: " + kGroupsLine);
    return bad(said + ": the server does not have mssl_x25519",
               "activate the module there, and list the group (nginx: ssl_ecdh_curve, in the socket's default server)");
}

// Nobody else than a member may come in, by whatever they speak.
Finding check_members_only(const OpensslSetup& setup, const Endpoint& at, const std::string& name) {
    struct Way {
        const char* what;
        Result<Asker> asker;
        int version;
    };
    const std::string module = setup.module_file.empty() ? kModule : setup.module_file;
    Way ways[] = {{"TLS 1.3 without mSSL", Asker::as_stranger(), TLS1_3_VERSION},
                  {"TLS 1.2", Asker::as_stranger(), TLS1_2_VERSION},
                  {"mssl_x25519 without a token", Asker::as_no_member(module), TLS1_3_VERSION}};
    for (Way& way : ways) {
        if (!way.asker) return bad(way.asker.error().detail, "see above");
        if (Status s = way.asker->take_version(way.version); !s) return bad(s.error().detail, "see above");
        const Result<Agreed> agreed = agree(*way.asker, at, name);
        if (!agreed && agreed.code() != Errc::crypto) return bad(agreed.error().detail, "is a server running there?");
        if (agreed)
            return bad(std::string("who is no member comes in by ") + way.what,
                       "require = yes, TLS 1.3 alone and mssl_x25519 alone, in the default server of this address and port "
                       "(provider-mssl(7), Membership)");
    }
    return good("TLS 1.2, TLS 1.3 and mssl_x25519 without membership are refused");
}

// Prints findings as they come, and counts.
class Report {
public:
    // Whether to go on with what depends on it.
    bool add(const char* check, const Finding& finding) {
        const char* how = "";
        switch (finding.how) {
        case Finding::How::good: how = "ok"; break;
        case Finding::How::doubtful: how = "doubtful"; break;
        case Finding::How::bad: how = "FAILED"; break;
        }
        std::printf("%-14s %-9s %s\n", check, how, printable(finding.said).c_str());
        if (!finding.remedy.empty()) std::printf("%-14s %-9s %s\n", "", "remedy", printable(finding.remedy).c_str());
        failed_ = failed_ || finding.how == Finding::How::bad;
        return finding.how != Finding::How::bad;
    }
    int status() const { return failed_ ? kFailed : kDone; }

private:
    bool failed_ = false;
};

void examine(const DoctorOptions& options, const std::optional<Endpoint>& at, Report& report) {
    const Result<OpensslSetup> setup = read_openssl_setup();
    if (!report.add("configuration", check_configuration(setup))) return;
    const bool module = report.add("module", check_module(*setup));
    if (!report.add("default", check_default()) || !module) return;
    if (!report.add("parameters", check_parameters(*setup)) || !report.add("group", check_group(*setup)) || !at) return;
    const std::string& name = options.server_name.empty() ? at->host : options.server_name;
    if (!report.add("server", check_server(*at, name)) || !options.members_only) return;
    report.add("members only", check_members_only(*setup, *at, name));
}

}  // namespace

int run(const DoctorOptions& options) {
    std::optional<Endpoint> at;
    if (!options.server.empty()) {
        const Result<Endpoint> parsed = parse_endpoint(options.server, 443);
        if (!parsed) {
            std::fprintf(stderr, "mssl doctor: %s\n", printable(parsed.error().detail).c_str());
            return kUsage;
        }
        at = *parsed;
    }
    Report report;
    examine(options, at, report);
    if (std::fflush(stdout) != 0) {
        std::perror("mssl doctor: standard output");
        return kFailed;
    }
    return report.status();
}

}  // namespace mssl::tools
