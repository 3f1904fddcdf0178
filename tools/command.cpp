#include "tools/command.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include "tools/files.h"

namespace mssl::tools {
namespace {

constexpr std::size_t kMaxOutput = std::size_t{16} << 20;

struct Pipe {
    Fd read;
    Fd write;
};

Result<Pipe> make_pipe() {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return errno_error("pipe");
    return Pipe{Fd(ends[0]), Fd(ends[1])};
}

std::string find_program(const std::string& name) {
    const char* path = std::getenv("PATH");
    const std::string places = (path != nullptr ? std::string(path) + ":" : std::string()) + "/usr/sbin:/sbin";
    for (std::size_t at = 0; at <= places.size();) {
        const std::size_t end = std::min(places.find(':', at), places.size());
        const std::string candidate = places.substr(at, end - at) + "/" + name;
        // An empty or relative place is the working directory: no root's command comes from there.
        if (candidate[0] == '/' && end > at && access(candidate.c_str(), X_OK) == 0) return candidate;
        at = end + 1;
    }
    return {};
}

// The attributes of the child, as posix_spawn(3) wants them.
class SpawnSetup {
public:
    SpawnSetup(int in, int out, int err) {
        posix_spawn_file_actions_init(&actions_);
        posix_spawn_file_actions_adddup2(&actions_, in, STDIN_FILENO);
        posix_spawn_file_actions_adddup2(&actions_, out, STDOUT_FILENO);
        posix_spawn_file_actions_adddup2(&actions_, err, STDERR_FILENO);
        posix_spawnattr_init(&attributes_);
        sigset_t pipe_signal;
        sigemptyset(&pipe_signal);
        sigaddset(&pipe_signal, SIGPIPE);
        sigset_t none;
        sigemptyset(&none);
        posix_spawnattr_setsigdefault(&attributes_, &pipe_signal);
        posix_spawnattr_setsigmask(&attributes_, &none);
        posix_spawnattr_setpgroup(&attributes_, 0);
        posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
    }
    ~SpawnSetup() {
        posix_spawn_file_actions_destroy(&actions_);
        posix_spawnattr_destroy(&attributes_);
    }
    SpawnSetup(const SpawnSetup&) = delete;
    SpawnSetup& operator=(const SpawnSetup&) = delete;

    const posix_spawn_file_actions_t* actions() const { return &actions_; }
    const posix_spawnattr_t* attributes() const { return &attributes_; }

private:
    posix_spawn_file_actions_t actions_{};
    posix_spawnattr_t attributes_{};
};

// What there is to read now; closes at the end. Beyond kMaxOutput it is read and forgotten.
void drain(Fd& from, std::string& to) {
    std::array<char, 65536> piece;
    const ssize_t n = read(from.get(), piece.data(), piece.size());
    if (n < 0 && errno == EINTR) return;
    if (n <= 0) return from.close();
    to.append(piece.data(), std::min(static_cast<std::size_t>(n), kMaxOutput - std::min(kMaxOutput, to.size())));
}

void feed(Fd& to, std::string_view& input) {
    const ssize_t n = write(to.get(), input.data(), input.size());
    if (n > 0) input.remove_prefix(static_cast<std::size_t>(n));
    // A program that does not read to the end says why by its status.
    if (input.empty() || (n < 0 && errno != EINTR && errno != EAGAIN)) to.close();
}

void talk(Fd in, std::string_view input, Fd out, Fd err, Finished& finished) {
    fcntl(in.get(), F_SETFL, O_NONBLOCK);
    if (input.empty()) in.close();
    while (out || err || in) {
        std::array<pollfd, 3> waiting{{{out.get(), POLLIN, 0}, {err.get(), POLLIN, 0}, {in.get(), POLLOUT, 0}}};
        if (poll(waiting.data(), waiting.size(), -1) < 0) continue;  // EINTR; a descriptor of -1 is passed over
        if (waiting[0].revents != 0) drain(out, finished.out);
        if (waiting[1].revents != 0) drain(err, finished.err);
        if (waiting[2].revents != 0) feed(in, input);
    }
}

}  // namespace

Result<Finished> run_command(const Argv& argv, std::string_view input) {
    const std::string program = find_program(argv.front());
    if (program.empty()) return fail(Errc::config, "there is no program '" + argv.front() + "' here");
    Result<Pipe> in = make_pipe();
    if (!in) return in.error();
    Result<Pipe> out = make_pipe();
    if (!out) return out.error();
    Result<Pipe> err = make_pipe();
    if (!err) return err.error();

    std::vector<char*> words;
    for (const std::string& word : argv) words.push_back(const_cast<char*>(word.c_str()));
    words.push_back(nullptr);
    const SpawnSetup setup(in->read.get(), out->write.get(), err->write.get());
    pid_t pid = -1;
    const int rc = posix_spawn(&pid, program.c_str(), setup.actions(), setup.attributes(), words.data(), environ);
    if (rc != 0) return fail(Errc::io, program + ": " + std::strerror(rc));
    in->read.close();
    out->write.close();
    err->write.close();

    Finished finished;
    talk(std::move(in->write), input, std::move(out->read), std::move(err->read), finished);
    int status = 0;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR) return errno_error(program);
    finished.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return finished;
}

std::string shell_line(const Argv& argv) {
    constexpr std::string_view kPlain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:=,@%+";
    std::string out;
    for (const std::string& word : argv) {
        if (!out.empty()) out += ' ';
        if (!word.empty() && word.find_first_not_of(kPlain) == std::string::npos) {
            out += word;
            continue;
        }
        out += '\'';
        for (const char c : word) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
        out += '\'';
    }
    return out;
}

}  // namespace mssl::tools
