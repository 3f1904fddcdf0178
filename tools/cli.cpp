#include "tools/cli.h"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstdio>
#include <string_view>

#include "protocol/interception_ca.h"
#include "protocol/token.h"
#include "tools/text.h"

namespace mssl::tools {
namespace {

constexpr const char* kVersion = "mssl " PACKAGE_VERSION;

// What the command line is read into; the verb that was named decides which of them counts.
struct Read {
    HashOptions hash;
    ShowOptions show;
    GetOptions get;
    PublishOptions publish;
    StatusOptions status;
    InterceptOptions intercept;
    CaOptions ca;
    MemberOptions member;
    DoctorOptions doctor;
    std::string expires;
    std::string at;
    std::string help_for;
};

void hash_verb(CLI::App& app, HashOptions& o) {
    CLI::App* verb = app.add_subcommand("hash", "Merkle root of files, as a final head signs it");
    verb->add_option("file", o.files, "files; - is standard input")->required();
    verb->add_flag("--json", o.json, "one JSON object a line");
}

void show_verb(CLI::App& app, ShowOptions& o, std::string& at) {
    CLI::App* verb = app.add_subcommand("show", "what a manifest, head, ticket or certificate says");
    verb->add_option("file", o.file, "DER or PEM; - is standard input")->required();
    verb->add_flag("--json", o.json, "as JSON");
    CLI::Option* verify =
        verb->add_option("--verify", o.realm, "verify under this realm certificate")->type_name("REALM.pem");
    verb->add_option("--signer", o.signer, "the signer's certificate")->type_name("SIGNER.pem")->needs(verify);
    verb->add_option("--at", at, "verify for this time instead of now (2026-11-23T12:00:00Z)")
        ->type_name("TIME")
        ->needs(verify);
}

void get_verb(CLI::App& app, GetOptions& o) {
    CLI::App* verb = app.add_subcommand("get", "fetch a URL, from its server and from peers");
    verb->add_option("url", o.url, "http://host[:port]/path")->required();
    verb->add_option("-o,--output", o.output, "write to FILE; - is standard output")->type_name("FILE");
    verb->add_flag("-c,--continue", o.resume, "go on where FILE.part ends");
    verb->add_flag("-q,--quiet", o.quiet, "no progress, no summary");
    CLI::Option* server =
        verb->add_option("--server", o.server, "the mSSL server (default: the URL's host, 443)")->type_name("HOST:PORT");
    CLI::Option* ca =
        verb->add_option("--ca", o.ca, "trust anchors of the server's certificate (PEM)")->type_name("FILE");
    CLI::Option* token = verb->add_option("--token-file", o.token_file, "enrolment token")->type_name("FILE");
    CLI::Option* strict = verb->add_flag("--no-fallback", o.no_fallback, "never fetch without mSSL");
    CLI::Option* proxy =
        verb->add_option("--proxy", o.proxy, "a running msslproxy's http-proxy")->type_name("HOST:PORT");
    verb->add_flag("--own-daemon", o.own_daemon, "do not use $http_proxy")->excludes(proxy);
    for (CLI::Option* of_child : {server, ca, token, strict}) proxy->excludes(of_child);
}

void publish_verb(CLI::App& app, PublishOptions& o) {
    CLI::App* verb = app.add_subcommand("publish", "have a server hash an object before anybody asks for it");
    verb->add_option("what", o.what, "URL, or a file below the root of an origin")->required();
    verb->add_option("--status", o.status, "status address of the server's msslproxy")
        ->type_name("HOST:PORT")
        ->capture_default_str();
    verb->add_flag("--json", o.json, "the server's answers as they come, one JSON object a line");
    verb->add_flag("-q,--quiet", o.quiet, "no progress, no summary");
}

void status_verb(CLI::App& app, StatusOptions& o) {
    CLI::App* verb = app.add_subcommand("status", "what a running msslproxy does");
    verb->add_option("--address", o.address, "its status address")->type_name("HOST:PORT")->capture_default_str();
    CLI::Option* json = verb->add_flag("--json", o.json, "as JSON");
    verb->add_flag("--watch,-w", o.watch, "again every second, until interrupted")->excludes(json);
}

void intercept_verb(CLI::App& app, InterceptOptions& o) {
    CLI::App* verb = app.add_subcommand("intercept", "bring applications' connections to msslproxy, or leave them alone");
    verb->require_subcommand(1);
    CLI::App* on = verb->add_subcommand("on", "intercept from now on");
    on->callback([&o] { o.action = InterceptOptions::Action::on; });
    const CLI::Range ports(1, 65535);
    on->add_option("--port", o.port, "where msslproxy listens: its [[intercept]]")->check(ports)->capture_default_str();
    on->add_option("--user", o.user, "whom msslproxy runs as: its own connections are left alone")
        ->type_name("NAME|UID")
        ->capture_default_str();
    on->add_option("--dport", o.destination_ports, "intercept connections to this port; more than once for several")
        ->check(ports)
        ->allow_extra_args(false)
        ->capture_default_str();
    on->add_option("--host", o.hosts, "only those to this name or address[/length]; more than once for several")
        ->type_name("HOST")
        ->allow_extra_args(false);
    on->add_flag("--tproxy", o.tproxy, "by TPROXY instead of REDIRECT (msslproxy's mode tproxy)");
    on->add_flag("--forwarded", o.forwarded, "also what this host routes for others");
    CLI::Option* dry = on->add_flag("--dry-run", o.dry_run, "print what would be done, for sh, and change nothing");
    on->add_flag("--foreground", o.foreground, "stay, and undo it when told to end")->excludes(dry);
    CLI::App* off = verb->add_subcommand("off", "undo it");
    off->callback([&o] { o.action = InterceptOptions::Action::off; });
    off->add_flag("--dry-run", o.dry_run, "print what would be done, for sh, and change nothing");
    CLI::App* status = verb->add_subcommand("status", "whether it is on, and what is intercepted");
    status->callback([&o] { o.action = InterceptOptions::Action::status; });
    status->add_flag("--json", o.json, "as JSON");
}

void ca_verb(CLI::App& app, CaOptions& o) {
    CLI::App* verb = app.add_subcommand("ca", "the CA with which this host's msslproxy answers for https sites");
    verb->require_subcommand(1);
    CLI::App* create = verb->add_subcommand("create", "make it, for these sites and no others");
    CLI::App* show = verb->add_subcommand("show", "what it is, how it is installed and how removed");
    CLI::App* renew = verb->add_subcommand("renew", "make it anew, for the same sites or others");
    create->callback([&o] { o.action = CaOptions::Action::create; });
    show->callback([&o] { o.action = CaOptions::Action::show; });
    renew->callback([&o] { o.action = CaOptions::Action::renew; });
    create->add_option("host", o.hosts, "hosts that msslproxy is to intercept")->required();
    renew->add_option("host", o.hosts, "hosts; by default those that it has");
    for (CLI::App* one : {create, renew})
        one->add_option("--days", o.days, "how long it is valid")->check(CLI::Range(1, InterceptionCa::kMaxDays))->capture_default_str();
    for (CLI::App* one : {create, show, renew})
        one->add_option("--directory", o.directory, "where it is kept: msslproxy's interception-ca")->type_name("DIR")->capture_default_str();
    show->add_flag("--json", o.json, "as JSON");
}

void member_verb(CLI::App& app, MemberOptions& o, std::string& expires) {
    CLI::App* verb = app.add_subcommand("member", "memberships of a realm, for the OpenSSL provider");
    verb->require_subcommand(1);
    CLI::App* issue = verb->add_subcommand("issue", "make a member's handshake tokens");
    issue->add_option("--state", o.state, "the server's state directory")->type_name("DIR")->required();
    issue->add_option("-o,--output", o.output, "a new file for the tokens")->type_name("FILE")->required();
    CLI::Option* days = issue->add_option("--days", o.days, "until the membership ends, at midnight UTC")
        ->check(CLI::Range(1, 90))
        ->capture_default_str();
    issue->add_option("--expires", expires, "the time at which it ends (2026-12-23T00:00:00Z)")
        ->type_name("TIME")
        ->excludes(days);
    issue->add_option("--tokens", o.tokens, "how many; each handshake takes one")
        ->check(CLI::Range(std::uint32_t{1}, kMaxTokens))
        ->capture_default_str();
    issue->add_option("--serial", o.serial, "of a membership that is to get more tokens, with the same --expires")
        ->type_name("HEX");
}

void doctor_verb(CLI::App& app, DoctorOptions& o) {
    CLI::App* verb = app.add_subcommand("doctor", "whether this host's OpenSSL programs negotiate mSSL");
    CLI::Option* server = verb->add_option("server", o.server, "a server that is to answer with it (port 443 unless given)")
                              ->type_name("HOST[:PORT]");
    verb->add_option("--servername", o.server_name, "the name to ask for instead of HOST")->type_name("NAME")->needs(server);
    verb->add_flag("--members-only", o.members_only, "the server is to refuse who is no member")->needs(server);
}

Command chosen(const CLI::App& app, Read& read) {
    if (app.got_subcommand("hash")) return read.hash;
    if (app.got_subcommand("show")) return read.show;
    if (app.got_subcommand("get")) return read.get;
    if (app.got_subcommand("publish")) return read.publish;
    if (app.got_subcommand("intercept")) return read.intercept;
    if (app.got_subcommand("ca")) return read.ca;
    if (app.got_subcommand("member")) return read.member;
    if (app.got_subcommand("doctor")) return read.doctor;
    return read.status;
}

CommandLine wrong(const std::string& why) {
    std::fprintf(stderr, "mssl: %s\nTry 'mssl help'.\n", printable(why).c_str());
    return {std::nullopt, kUsage};
}

std::optional<std::string> unknown_verb(const CLI::App& app, std::string_view word) {
    std::vector<std::string> names;
    for (const CLI::App* verb : app.get_subcommands([](const CLI::App*) { return true; }))
        names.push_back(verb->get_name());
    std::vector<std::string_view> words(names.begin(), names.end());
    if (std::find(words.begin(), words.end(), word) != words.end()) return std::nullopt;
    std::string why = "unknown verb '" + std::string(word) + "'";
    if (const std::string_view near = nearest_word(word, words); !near.empty())
        why += "; did you mean '" + std::string(near) + "'?";
    return why;
}

// app.help() itself would delegate to the verb that was parsed, be it help.
std::string help_text(const CLI::App& app, const CLI::App* verb) {
    return verb != nullptr ? verb->help(app.get_name())
                           : app.get_formatter()->make_help(&app, app.get_name(), CLI::AppFormatMode::Normal);
}

CommandLine read_guarded(int argc, char** argv) {
    Read read;
    CLI::App app("Tools of mSSL: fetch, look, check. See mssl(1).", "mssl");
    app.set_version_flag("-V,--version", kVersion);
    app.require_subcommand(1);
    hash_verb(app, read.hash);
    show_verb(app, read.show, read.at);
    get_verb(app, read.get);
    publish_verb(app, read.publish);
    status_verb(app, read.status);
    intercept_verb(app, read.intercept);
    ca_verb(app, read.ca);
    member_verb(app, read.member, read.expires);
    doctor_verb(app, read.doctor);
    CLI::App* help = app.add_subcommand("help", "this list, or the options of a verb");
    help->add_option("verb", read.help_for);

    if (argc == 1) {
        std::fputs(help_text(app, nullptr).c_str(), stderr);
        return {std::nullopt, kUsage};
    }
    if (argv[1][0] != '-')
        if (const auto why = unknown_verb(app, argv[1])) return wrong(*why);
    try {
        app.parse(argc, argv);
    } catch (const CLI::CallForHelp&) {
        std::fputs(help_text(app, app.get_subcommands().empty() ? nullptr : app.get_subcommands().front()).c_str(), stdout);
        return {};
    } catch (const CLI::ParseError& e) {
        if (e.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success)) return {std::nullopt, app.exit(e)};
        return wrong(e.what());
    }
    if (app.got_subcommand(help)) {
        if (!read.help_for.empty())
            if (const auto why = unknown_verb(app, read.help_for)) return wrong(*why);
        std::fputs(help_text(app, read.help_for.empty() ? nullptr : app.get_subcommand(read.help_for)).c_str(), stdout);
        return {};
    }
    if (!read.at.empty()) {
        read.show.at = parse_iso_time(read.at);
        if (!read.show.at) return wrong("--at: found '" + read.at + "', expected a time such as 2026-11-23T12:00:00Z");
    }
    if (!read.expires.empty()) {
        read.member.expires = parse_iso_time(read.expires);
        if (!read.member.expires || read.member.expires->unix_seconds < 0)
            return wrong("--expires: found '" + read.expires + "', expected a time such as 2026-12-23T00:00:00Z");
    }
    return {chosen(app, read), kDone};
}

}  // namespace

CommandLine read_command_line(int argc, char** argv) {
    try {
        return read_guarded(argc, argv);
    } catch (const std::exception& e) {
        return wrong(e.what());
    }
}

}  // namespace mssl::tools
