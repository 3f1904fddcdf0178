#include "tools/child.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <thread>

#include "tools/interrupt.h"

namespace mssl::tools {
namespace {

constexpr int kSlots = 16;             // children at the same time that keep their state
constexpr int kListenBacklog = 64;
constexpr int kFirstPassed = 3;        // sd_listen_fds(3)
constexpr auto kGrace = std::chrono::milliseconds(1500);  // from TERM to KILL; the store survives either
constexpr std::size_t kLastWords = 2000;

std::string toml_string(const std::string& text) {
    std::string out = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\') out += '\\';
        out += c;
    }
    return out + "\"";
}

std::string absolute(const std::string& path) {
    std::error_code ec;
    const std::filesystem::path out = std::filesystem::absolute(path, ec);
    return ec ? path : out.string();
}

Status make_private_directory(const std::string& path) {
    std::error_code ec;
    std::filesystem::create_directories(std::filesystem::path(path).parent_path(), ec);
    if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return errno_error(path);
    // Whoever could write there could give us members' keys of theirs.
    struct stat st {};
    if (lstat(path.c_str(), &st) != 0) return errno_error(path);
    if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & (S_IWGRP | S_IWOTH)) != 0)
        return fail(Errc::config, path + ": expected a directory of yours that nobody else may write to");
    return {};
}

struct Listening {
    Fd fd;
    Endpoint at;
};

Result<Listening> listen_on_loopback() {
    Listening out;
    out.fd = Fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    if (!out.fd || bind(out.fd.get(), generic, size) != 0 || listen(out.fd.get(), kListenBacklog) != 0 ||
        getsockname(out.fd.get(), generic, &size) != 0)
        return errno_error("a listening socket on 127.0.0.1");
    out.at = {"127.0.0.1", ntohs(address.sin_port)};
    return out;
}

// The first ROOT/get-N that no other child holds.
Result<std::pair<std::string, Fd>> take_slot(const std::string& root) {
    if (Status s = make_private_directory(root); !s) return s.error();
    for (int n = 0; n < kSlots; ++n) {
        const std::string directory = root + "/get-" + std::to_string(n);
        if (Status s = make_private_directory(directory); !s) return s.error();
        Fd lock(open((directory + "/lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
        if (!lock) return errno_error(directory + "/lock");
        if (flock(lock.get(), LOCK_EX | LOCK_NB) == 0) return std::pair(directory, std::move(lock));
    }
    return fail(Errc::busy, root + ": " + std::to_string(kSlots) + " mssl get at the same time are running already");
}

Status write_file(const std::string& path, const std::string& text) {
    const Fd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    if (!fd) return errno_error(path);
    return write_all(fd.get(), as_view(text));
}

// Runs in the child. Only async-signal-safe calls are not needed here: this program has one thread.
[[noreturn]] void become(const std::string& program, const std::string& config, const std::string& log, int proxy,
                         int status, int lock, pid_t parent) {
    // First, so that no moment is left in which our death would leave it behind.
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(kFirstPassed);
    setpgid(0, 0);  // Ctrl-C is for us, who then end it
    Interrupt::undo_in_child();
    std::signal(SIGPIPE, SIG_DFL);
    const int null = open("/dev/null", O_RDONLY);
    const int out = open(log.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    // Above whatever numbers are to be filled, so that none is overwritten before it is moved.
    const int high[] = {fcntl(proxy, F_DUPFD, 16), fcntl(status, F_DUPFD, 16), fcntl(lock, F_DUPFD, 16)};
    dup2(null, STDIN_FILENO);
    dup2(out, STDOUT_FILENO);
    dup2(out, STDERR_FILENO);
    for (int i = 0; i < 2; ++i) {
        dup2(high[i], kFirstPassed + i);
        close(high[i]);
    }
    setenv("LISTEN_FDS", "2", 1);
    setenv("LISTEN_PID", std::to_string(getpid()).c_str(), 1);
    unsetenv("NOTIFY_SOCKET");
    execl(program.c_str(), program.c_str(), "-c", config.c_str(), nullptr);
    dprintf(STDERR_FILENO, "%s: %s\n", program.c_str(), std::strerror(errno));
    _exit(127);
}

}  // namespace

std::string child_configuration(const ChildOptions& options, const std::string& state, const Endpoint& proxy,
                                const Endpoint& status) {
    std::string out = "# Written by mssl get, at every start.\n";
    out += "[client]\nstate = " + toml_string(state) + "\n";
    out += "[[intercept]]\nmode = \"http-proxy\"\nlisten = " + toml_string(proxy.text()) + "\n";
    out += "[[site]]\nhost = " + toml_string(options.site.text()) + "\n";
    if (!options.server.empty()) out += "server = " + toml_string(options.server) + "\n";
    if (!options.ca.empty()) out += "ca = " + toml_string(absolute(options.ca)) + "\n";
    if (!options.token_file.empty()) out += "token-file = " + toml_string(absolute(options.token_file)) + "\n";
    out += std::string("fallback = ") + (options.fallback ? "\"origin\"" : "\"none\"") + "\n";
    out += "[status]\nlisten = " + toml_string(status.text()) + "\n";
    out += "[process]\ndrain-timeout = \"1s\"\n";
    return out;
}

Result<std::string> user_state_directory() {
    const char* state = std::getenv("XDG_STATE_HOME");
    if (state != nullptr && state[0] == '/') return std::string(state) + "/mssl";
    const char* home = std::getenv("HOME");
    if (home != nullptr && home[0] == '/') return std::string(home) + "/.local/state/mssl";
    return fail(Errc::config, "neither XDG_STATE_HOME nor HOME says where to keep state");
}

Result<std::string> find_msslproxy() {
    if (const char* given = std::getenv("MSSLPROXY"); given != nullptr && *given != '\0') {
        if (access(given, X_OK) != 0) return errno_error(std::string("$MSSLPROXY: ") + given);
        return absolute(given);
    }
    std::error_code ec;
    const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", ec);
    std::vector<std::filesystem::path> places;
    if (!ec) places = {self.parent_path() / "msslproxy", self.parent_path().parent_path() / "sbin" / "msslproxy"};
    places.emplace_back(MSSL_SBINDIR "/msslproxy");
    for (const auto& place : places)
        if (access(place.c_str(), X_OK) == 0) return place.string();
    return fail(Errc::config, "msslproxy is neither beside mssl nor in " MSSL_SBINDIR "; say where in MSSLPROXY");
}

Result<ProxyChild> ProxyChild::start(const ChildOptions& options) {
    const Result<std::string> program = find_msslproxy();
    if (!program) return program.error();
    const Result<std::string> root = user_state_directory();
    if (!root) return root.error();
    Result<std::pair<std::string, Fd>> slot = take_slot(*root);
    if (!slot) return slot.error();
    Result<Listening> proxy = listen_on_loopback();
    if (!proxy) return proxy.error();
    Result<Listening> status = listen_on_loopback();
    if (!status) return status.error();

    ProxyChild out;
    out.directory_ = std::move(slot->first);
    out.lock_ = std::move(slot->second);
    out.proxy_ = proxy->at;
    out.status_ = status->at;
    const std::string config = out.directory_ + "/msslproxy.toml";
    if (Status s = write_file(config, child_configuration(options, out.directory_, out.proxy_, out.status_)); !s)
        return s.error();
    if (Status s = out.launch(*program, config, proxy->fd, status->fd); !s) return s.error();
    // Our copies of the sockets close here: when the child dies, connections to it break instead of waiting.
    return out;
}

Status ProxyChild::launch(const std::string& program, const std::string& config, const Fd& proxy, const Fd& status) {
    const pid_t parent = getpid();
    const pid_t pid = fork();
    if (pid < 0) return errno_error("fork");
    if (pid == 0) become(program, config, directory_ + "/log", proxy.get(), status.get(), lock_.get(), parent);
    pid_ = pid;
    return {};
}

ProxyChild::ProxyChild(ProxyChild&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      directory_(std::move(other.directory_)),
      lock_(std::move(other.lock_)),
      proxy_(std::move(other.proxy_)),
      status_(std::move(other.status_)) {}

ProxyChild::~ProxyChild() {
    if (pid_ < 0) return;
    kill(pid_, SIGTERM);
    const auto deadline = std::chrono::steady_clock::now() + kGrace;
    while (waitpid(pid_, nullptr, WNOHANG) == 0) {
        if (std::chrono::steady_clock::now() > deadline) {
            kill(pid_, SIGKILL);
            waitpid(pid_, nullptr, 0);
            return;
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
}

std::string ProxyChild::last_words() const {
    const Result<Bytes> log = read_small_file(directory_ + "/log", std::size_t{64} << 20);
    if (!log) return {};
    std::string_view text(reinterpret_cast<const char*>(log->data()), log->size());
    if (text.size() > kLastWords) {
        text.remove_prefix(text.size() - kLastWords);
        text.remove_prefix(std::min(text.size(), text.find('\n') + 1));
    }
    return std::string(text);
}

}  // namespace mssl::tools
