#include "tools/openssl_setup.h"

#include <openssl/conf.h>
#include <openssl/err.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

#include "protocol/openssl.h"

namespace mssl::tools {
namespace {

using ConfPtr = std::unique_ptr<CONF, Freer<NCONF_free>>;

std::string string_at(const CONF* conf, const std::string& section, const char* name) {
    const char* value = NCONF_get_string(conf, section.empty() ? nullptr : section.c_str(), name);
    return value != nullptr ? value : "";
}

std::vector<std::pair<std::string, std::string>> section_at(const CONF* conf, const std::string& name) {
    std::vector<std::pair<std::string, std::string>> out;
    const STACK_OF(CONF_VALUE)* values = name.empty() ? nullptr : NCONF_get_section(conf, name.c_str());
    for (int i = 0; i < sk_CONF_VALUE_num(values); ++i) {
        const CONF_VALUE* v = sk_CONF_VALUE_value(values, i);
        out.emplace_back(v->name, v->value);
    }
    return out;
}

// OpenSSL takes "2.mssl" for "mssl", so that a section can name one thing twice.
std::string_view without_number(std::string_view name) {
    const std::size_t dot = name.find('.');
    return dot == std::string_view::npos ? name : name.substr(dot + 1);
}

void read_module(OpensslSetup& to, const CONF* conf, const std::string& section) {
    to.module_named = true;
    to.module_section = section;
    for (auto& [name, value] : section_at(conf, section)) {
        if (without_number(name) == "module")
            to.module_file = value;
        else
            to.parameters.emplace_back(without_number(name), std::move(value));
    }
}

}  // namespace

bool OpensslSetup::has(std::string_view parameter) const {
    return std::ranges::any_of(parameters, [&](const auto& p) { return p.first == parameter; });
}

Result<OpensslSetup> read_openssl_setup() {
    OpensslSetup out;
    if (char* file = CONF_get1_default_config_file()) {
        out.file = file;
        OPENSSL_free(file);
    }
    const ConfPtr conf(NCONF_new(nullptr));
    long line = 0;
    errno = 0;
    if (!conf || NCONF_load(conf.get(), out.file.c_str(), &line) != 1) {
        if (line > 0) return openssl_error(Errc::config, out.file + ":" + std::to_string(line));
        const int e = errno;
        ERR_clear_error();
        return fail(Errc::config, out.file + ": " + std::strerror(e));
    }
    const std::string init = string_at(conf.get(), "", "openssl_conf");
    for (const auto& [name, section] : section_at(conf.get(), string_at(conf.get(), init, "providers"))) {
        const std::string identity = string_at(conf.get(), section, "identity");
        if ((identity.empty() ? without_number(name) : std::string_view(identity)) == "mssl")
            read_module(out, conf.get(), section);
    }
    const std::string ssl = string_at(conf.get(), init, "ssl_conf");
    const std::string all = ssl.empty() ? "" : string_at(conf.get(), ssl, "system_default");
    for (const char* name : {"Groups", "Curves"})
        if (!all.empty() && out.groups.empty()) out.groups = string_at(conf.get(), all, name);
    // What is not there is no error, but OpenSSL notes it.
    ERR_clear_error();
    return out;
}

}  // namespace mssl::tools
