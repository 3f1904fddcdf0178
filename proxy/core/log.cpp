#include "proxy/core/log.h"

#include <spdlog/common.h>
#include <spdlog/logger.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <atomic>
#include <cstdlib>
#include <memory>
#include <mutex>

namespace mssl::proxy::log {
namespace {

constexpr char kPattern[] = "%Y-%m-%dT%H:%M:%S.%e%z %l %v";

spdlog::level::level_enum spd_level(Level level) {
    switch (level) {
    case Level::debug: return spdlog::level::debug;
    case Level::info: return spdlog::level::info;
    case Level::warning: return spdlog::level::warn;
    case Level::error: return spdlog::level::err;
    }
    return spdlog::level::info;
}

// Under systemd the journal stamps each line itself and reads the severity from "<N>" (sd-daemon(3)).
bool journal_listens() { return std::getenv("JOURNAL_STREAM") != nullptr; }

char journal_severity(Level level) {
    switch (level) {
    case Level::debug: return '7';
    case Level::info: return '6';
    case Level::warning: return '4';
    case Level::error: return '3';
    }
    return '6';
}

// One log a process; the logger inside is swapped whole.
struct Log {
    std::mutex mutex;
    std::shared_ptr<spdlog::logger> logger;
    std::shared_ptr<spdlog::sinks::basic_file_sink_mt> file_sink;
    std::string file;
    std::atomic<bool> journal = false;
    std::atomic<Level> level{Level::info};

    std::shared_ptr<spdlog::logger> get() {
        const std::lock_guard lock(mutex);
        if (!logger) install(std::make_shared<spdlog::sinks::stderr_sink_mt>(), journal_listens());
        return logger;
    }
    void install(spdlog::sink_ptr sink, bool to_journal) {
        auto made = std::make_shared<spdlog::logger>("msslproxy", std::move(sink));
        made->set_pattern(to_journal ? "%v" : kPattern);
        made->set_level(spdlog::level::debug);  // filtered by write() already
        made->flush_on(spdlog::level::info);
        made->set_error_handler([](const std::string&) {});  // a full disk must not stop the daemon
        journal = to_journal;
        logger = std::move(made);
    }
};

Log& the_log() {
    static Log log;
    return log;
}

Result<std::shared_ptr<spdlog::sinks::basic_file_sink_mt>> open_file(const std::string& file) {
    try {
        return std::make_shared<spdlog::sinks::basic_file_sink_mt>(file, false);
    } catch (const spdlog::spdlog_ex& e) {
        return fail(Errc::io, "log file " + file + ": " + e.what());
    }
}

bool plain(char c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           (c != '\0' && std::string_view("-_.:/+@%*,;~[]()?&").find(c) != std::string_view::npos);
}

// Bare where that is unambiguous, else quoted: no value forges a line or a field.
void append_value(std::string& out, std::string_view text) {
    static constexpr char kHex[] = "0123456789abcdef";
    bool bare = !text.empty();
    for (const char c : text) bare = bare && plain(c);
    if (bare) {
        out += text;
        return;
    }
    out += '"';
    for (const char c : text) {
        const auto u = static_cast<unsigned char>(c);
        if (c == '"' || c == '\\') {
            out += '\\';
            out += c;
        } else if (u < 0x20 || u == 0x7f) {
            out += "\\x";
            out += kHex[u >> 4];
            out += kHex[u & 15];
        } else {
            out += c;
        }
    }
    out += '"';
}

}  // namespace

Status configure(Level level, const std::string& file) {
    Log& log = the_log();
    if (file.empty()) {
        const std::lock_guard lock(log.mutex);
        if (!log.logger || log.file_sink) {
            log.file_sink = nullptr;
            log.file.clear();
            log.install(std::make_shared<spdlog::sinks::stderr_sink_mt>(), journal_listens());
        }
    } else {
        auto sink = open_file(file);
        if (!sink) return sink.error();
        const std::lock_guard lock(log.mutex);
        log.file_sink = *sink;
        log.file = file;
        log.install(*sink, false);
    }
    log.level.store(level, std::memory_order_relaxed);
    return {};
}

void reopen() {
    Log& log = the_log();
    std::string file;
    {
        const std::lock_guard lock(log.mutex);
        file = log.file;
    }
    if (file.empty()) return;
    auto sink = open_file(file);
    if (!sink) {
        // The old file stays open: better there than nowhere.
        error("log file not reopened", {{"why", sink.error().detail}});
        return;
    }
    const std::lock_guard lock(log.mutex);
    log.file_sink = *sink;
    log.install(*sink, false);
}

void write(Level level, std::string_view event, FieldList fields) {
    Log& log = the_log();
    if (level < log.level.load(std::memory_order_relaxed)) return;
    const auto logger = log.get();
    std::string line;
    line.reserve(128);
    if (log.journal) {
        line += '<';
        line += journal_severity(level);
        line += '>';
    }
    line += event;
    for (const Field& field : fields) {
        line += ' ';
        line += field.key;
        line += '=';
        append_value(line, field.value.text);
    }
    logger->log(spd_level(level), spdlog::string_view_t(line.data(), line.size()));
}

std::string redact(std::string_view url) {
    std::string out;
    std::string_view rest = url;
    if (const std::size_t scheme = rest.find("://"); scheme != std::string_view::npos) {
        out = rest.substr(0, scheme + 3);
        rest.remove_prefix(scheme + 3);
        const std::size_t end = std::min(rest.find_first_of("/?#"), rest.size());
        if (const std::size_t at = rest.substr(0, end).rfind('@'); at != std::string_view::npos) rest.remove_prefix(at + 1);
    }
    const std::size_t query = rest.find_first_of("?#");
    out += rest.substr(0, query);
    if (query != std::string_view::npos && rest[query] == '?') out += "?…";
    return out;
}

}  // namespace mssl::proxy::log
