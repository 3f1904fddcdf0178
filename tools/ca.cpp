// mssl ca: the certification authority with which this host's msslproxy answers for the https sites that it intercepts.
#include <fcntl.h>
#include <openssl/crypto.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>

#include "protocol/bytes.h"
#include "protocol/interception_ca.h"
#include "tools/files.h"
#include "tools/json.h"
#include "tools/text.h"
#include "tools/verbs.h"

namespace mssl::tools {
namespace {

// Where Debian's update-ca-certificates(8) looks for what the administrator adds.
constexpr char kInstalled[] = "/usr/local/share/ca-certificates/mssl-interception.crt";
constexpr mode_t kKeyMode = 0600, kCertificateMode = 0644, kDirectoryMode = 0755;

int give_up(const Error& error) {
    std::fprintf(stderr, "mssl ca: %s\n", printable(error.detail.empty() ? error.to_string() : error.detail).c_str());
    return error.code == Errc::config ? kUsage : kFailed;
}

WallTime now() { return WallTime{static_cast<std::int64_t>(std::time(nullptr))}; }

std::string key_file(const CaOptions& o) { return o.directory + "/" + InterceptionCa::kKeyFile; }
std::string certificate_file(const CaOptions& o) { return o.directory + "/" + InterceptionCa::kCertificateFile; }

// The directory of a CA, held open. Root makes it for the daemon, in a directory that is the daemon's: whatever is put in its place
// meanwhile, a link to elsewhere say, root changes nothing but what is in here.
class Place {
public:
    static Result<Place> make(const std::string& path) {
        std::string name = path;
        while (name.size() > 1 && name.ends_with('/')) name.pop_back();
        const std::size_t slash = name.rfind('/');
        const std::string parent = slash == std::string::npos ? "." : slash == 0 ? "/" : name.substr(0, slash);
        const Fd above(open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        if (!above) return errno_error(parent);
        if (slash != std::string::npos) name.erase(0, slash + 1);
        const bool made = mkdirat(above.get(), name.c_str(), kDirectoryMode) == 0;
        if (!made && errno != EEXIST) return errno_error(path);
        Place out;
        out.path_ = path;
        out.fd_ = Fd(openat(above.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
        if (!out.fd_) return errno_error(path);
        if (made)
            if (Status s = out.give_to_owner_of(above, out.fd_); !s) return s.error();
        return out;
    }

    // After Ok it survives a crash; until then what was there does.
    Status replace(const std::string& name, std::string_view content, mode_t mode) const {
        const std::string temporary = name + ".new";
        (void)unlinkat(fd_.get(), temporary.c_str(), 0);
        const Fd fd(openat(fd_.get(), temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, kKeyMode));
        if (!fd) return errno_error(path_ + "/" + temporary);
        Status s = write_all(fd.get(), View(reinterpret_cast<const std::uint8_t*>(content.data()), content.size()));
        if (s) s = give_to_owner_of(fd_, fd);
        if (s && (fchmod(fd.get(), mode) != 0 || fsync(fd.get()) != 0 || renameat(fd_.get(), temporary.c_str(), fd_.get(), name.c_str()) != 0 ||
                  fsync(fd_.get()) != 0))
            s = errno_error(path_ + "/" + name);
        if (!s) (void)unlinkat(fd_.get(), temporary.c_str(), 0);
        return s;
    }

private:
    Place() = default;
    Status give_to_owner_of(const Fd& directory, const Fd& made) const {
        struct stat s {};
        if (geteuid() != 0) return {};
        if (fstat(directory.get(), &s) != 0 || fchown(made.get(), s.st_uid, s.st_gid) != 0) return errno_error("giving an owner to what is in " + path_);
        return {};
    }

    std::string path_;
    Fd fd_;
};

// The key first: it holds the certificate as well, and is all that the daemon reads.
Status store(const CaOptions& o, const InterceptionCa& ca) {
    const Result<Place> place = Place::make(o.directory);
    if (!place) return place.error();
    Result<std::string> pem = ca.to_pem();
    if (!pem) return pem.error();
    Status s = place->replace(InterceptionCa::kKeyFile, *pem, kKeyMode);
    OPENSSL_cleanse(pem->data(), pem->size());
    if (s) s = place->replace(InterceptionCa::kCertificateFile, ca.certificate_pem(), kCertificateMode);
    return s;
}

Result<InterceptionCa> load(const CaOptions& o) {
    Result<Bytes> bytes = read_small_file(key_file(o), InterceptionCa::kMaxPemBytes);
    if (!bytes) {
        const bool none = access(key_file(o).c_str(), F_OK) != 0 && errno == ENOENT;
        return none ? fail(Errc::no_such_object, "there is none in " + o.directory + "; 'mssl ca create HOST ...' makes it") : bytes.error();
    }
    Result<InterceptionCa> ca = InterceptionCa::from_pem({reinterpret_cast<const char*>(bytes->data()), bytes->size()});
    OPENSSL_cleanse(bytes->data(), bytes->size());
    if (!ca) return fail(ca.code(), key_file(o) + ": " + ca.error().detail);
    return ca;
}

std::string joined(const std::vector<std::string>& words) {
    std::string out;
    for (const std::string& word : words) out += (out.empty() ? "" : ", ") + word;
    return out;
}

void print(const CaOptions& o, const InterceptionCa& ca) {
    const std::string file = certificate_file(o);
    const Hash fingerprint = ca.fingerprint();
    std::printf("certificate  %s\n  subject    %s\n  sites      %s\n  not after  %s\n  SHA-256    %s\n\n", file.c_str(), ca.subject().c_str(),
                joined(ca.hosts()).c_str(), iso_time(ca.not_after()).c_str(), fingerprint.hex().c_str());
    // The directory is for the daemon's eyes: programs of other users are told of the copy that they can read.
    std::printf("Whoever trusts it believes this host's msslproxy for these sites and names below them, and for no others.\n"
                "  as root      install -m 644 %s %s\n"
                "  this host    update-ca-certificates   (Debian)\n"
                "  one curl     curl --cacert %s https://%s/\n"
                "  Chromium     certutil -d sql:$HOME/.pki/nssdb -A -n mssl-interception -t C,, -i %s\n"
                "  Firefox      certutil -d sql:PROFILE -A -n mssl-interception -t C,, -i %s\n"
                "               (PROFILE: the profile's directory, from about:profiles)\n"
                "To have it believed no more, before the files here are deleted:\n"
                "  this host    rm %s\n"
                "               update-ca-certificates --fresh\n"
                "  NSS          certutil -d sql:DIRECTORY -D -n mssl-interception\n",
                file.c_str(), kInstalled, kInstalled, ca.hosts().front().c_str(), kInstalled, kInstalled, kInstalled);
}

int show(const CaOptions& o) {
    const Result<InterceptionCa> ca = load(o);
    if (!ca) return give_up(ca.error());
    if (o.json) {
        Json out = Json::object();
        out.put("certificate", certificate_file(o));
        out.put("subject", ca->subject());
        Json::Array hosts;
        for (const std::string& host : ca->hosts()) hosts.emplace_back(host);
        out.put("hosts", std::move(hosts));
        out.put("not_before", iso_time(ca->not_before()));
        out.put("not_after", iso_time(ca->not_after()));
        out.put("sha256", ca->fingerprint().hex());
        std::printf("%s\n", out.dump(2).c_str());
    } else {
        print(o, *ca);
    }
    if (now() < ca->not_after()) return kDone;
    std::fprintf(stderr, "mssl ca: it has expired: 'mssl ca renew'\n");
    return kFailed;
}

int make(const CaOptions& o, std::vector<std::string> hosts) {
    for (std::string& host : hosts)
        std::transform(host.begin(), host.end(), host.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
    std::sort(hosts.begin(), hosts.end());
    hosts.erase(std::unique(hosts.begin(), hosts.end()), hosts.end());
    const Result<InterceptionCa> ca = InterceptionCa::make(hosts, now(), o.days);
    if (!ca) return give_up(ca.error());
    if (Status s = store(o, *ca); !s) return give_up(s.error());
    print(o, *ca);
    return kDone;
}

int create(const CaOptions& o) {
    if (access(key_file(o).c_str(), F_OK) == 0)
        return give_up(fail(Errc::io, key_file(o) + " is there already; 'mssl ca renew' replaces it, and it must be installed again then"));
    return make(o, o.hosts);
}

int renew(const CaOptions& o) {
    const Result<InterceptionCa> old = load(o);
    if (!old && (o.hosts.empty() || old.code() == Errc::no_such_object)) return give_up(old.error());
    const int status = make(o, o.hosts.empty() ? old->hosts() : o.hosts);
    if (status == kDone)
        std::printf("\nThe one before it is of no use any more: remove it where it was installed. A running msslproxy takes the new one over\n"
                    "when it reloads (SIGHUP).\n");
    return status;
}

}  // namespace

int run(const CaOptions& options) {
    switch (options.action) {
    case CaOptions::Action::create: return create(options);
    case CaOptions::Action::show: return show(options);
    case CaOptions::Action::renew: return renew(options);
    }
    return kUsage;
}

}  // namespace mssl::tools
