// The verbs of mssl(1): what each is asked for, and the function that does it. One file a verb.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "protocol/types.h"

namespace mssl::tools {

// Exit statuses, the same for all verbs.
inline constexpr int kDone = 0;
inline constexpr int kFailed = 1;
inline constexpr int kUsage = 2;

inline constexpr const char* kDefaultStatusAddress = "127.0.0.1:9440";

struct HashOptions {
    std::vector<std::string> files;  // "-": standard input
    bool json = false;
};

struct ShowOptions {
    std::string file;  // "-": standard input
    bool json = false;
    std::string realm;   // PEM file to verify under; empty: nothing is verified
    std::string signer;  // PEM or DER file
    std::optional<WallTime> at;  // the time to verify for; empty: now
};

struct GetOptions {
    std::string url;
    std::string output;  // empty: the URL's last segment; "-": standard output
    std::string server;  // host:port; empty: the URL's host, 443
    std::string ca;      // PEM file; empty: the system's trust store
    std::string token_file;
    std::string proxy;   // a running daemon's http-proxy; empty: $http_proxy, or a child
    bool own_daemon = false;  // never $http_proxy
    bool no_fallback = false;
    bool resume = false;
    bool quiet = false;
};

struct PublishOptions {
    std::string what;  // URL or file
    std::string status = kDefaultStatusAddress;
    bool json = false;
    bool quiet = false;
};

struct StatusOptions {
    std::string address = kDefaultStatusAddress;
    bool json = false;
    bool watch = false;
};

struct InterceptOptions {
    enum class Action : std::uint8_t { on, off, status };
    Action action = Action::status;
    std::uint16_t port = 3129;    // where msslproxy listens
    std::string user = "mssl";    // whom it runs as: its own connections are left alone. A name or a uid
    std::vector<std::uint16_t> destination_ports = {80};
    std::vector<std::string> hosts;  // names, addresses, prefixes; empty: all
    bool tproxy = false;
    bool forwarded = false;  // also what this host routes for others
    bool dry_run = false;
    bool foreground = false;  // stay, and undo it at the end
    bool json = false;
};

struct CaOptions {
    enum class Action : std::uint8_t { create, show, renew };
    Action action = Action::show;
    std::string directory = "/var/lib/mssl/interception-ca";
    std::vector<std::string> hosts;  // of renew: empty for those that it has
    int days = 365;
    bool json = false;
};

struct MemberOptions {  // mssl member issue
    std::string state;   // a server's state directory
    std::string output;  // the file of tokens, which must not exist
    std::int64_t days = 30;
    std::optional<WallTime> expires;  // instead of days
    std::uint32_t tokens = 10'000;
    std::string serial;  // of a membership that gets more tokens; empty: a new one
};

struct DoctorOptions {
    std::string server;       // host:port that is to answer; empty: none is asked
    std::string server_name;  // empty: the host
    bool members_only = false;  // the server is to refuse everybody else
};

using Command = std::variant<HashOptions, ShowOptions, GetOptions, PublishOptions, StatusOptions, InterceptOptions,
                             CaOptions, MemberOptions, DoctorOptions>;

// Each returns the exit status and has told standard error why when it is not kDone.
int run(const HashOptions& options);
int run(const ShowOptions& options);
int run(const GetOptions& options);
int run(const PublishOptions& options);
int run(const StatusOptions& options);
int run(const InterceptOptions& options);
int run(const CaOptions& options);
int run(const MemberOptions& options);
int run(const DoctorOptions& options);

}  // namespace mssl::tools
