#include "proxy/core/service.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <charconv>
#include <cstdlib>
#include <cstring>
#include <optional>

namespace mssl::proxy {
namespace {

constexpr int kFirstInherited = 3;  // SD_LISTEN_FDS_START
constexpr int kMaxInherited = 256;

std::optional<long> number_in(const char* variable) {
    const char* text = std::getenv(variable);
    if (text == nullptr) return std::nullopt;
    const char* end = text + std::strlen(text);
    long value = 0;
    const auto [stop, ec] = std::from_chars(text, end, value);
    if (ec != std::errc{} || stop != end) return std::nullopt;
    return value;
}

int socket_option(int fd, int name) {
    int value = 0;
    socklen_t len = sizeof value;
    return getsockopt(fd, SOL_SOCKET, name, &value, &len) == 0 ? value : -1;
}

}  // namespace

void notify_service_manager(std::string_view state) {
    const char* path = std::getenv("NOTIFY_SOCKET");
    sockaddr_un to{};
    to.sun_family = AF_UNIX;
    if (path == nullptr || (path[0] != '/' && path[0] != '@') || std::strlen(path) >= sizeof to.sun_path) return;
    const std::size_t length = std::strlen(path);
    std::memcpy(to.sun_path, path, length);
    if (path[0] == '@') to.sun_path[0] = '\0';  // abstract namespace, unix(7)
    const Fd fd(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (!fd) return;
    // Nobody to tell when it fails: the manager goes by its own timeout.
    (void)sendto(fd.get(), state.data(), state.size(), MSG_NOSIGNAL, reinterpret_cast<const sockaddr*>(&to),
                 static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + length));
}

Fd take_inherited_listener(const Address& at) {
    if (number_in("LISTEN_PID") != getpid()) return {};
    const long count = number_in("LISTEN_FDS").value_or(0);
    for (int fd = kFirstInherited; fd < kFirstInherited + count && fd < kFirstInherited + kMaxInherited; ++fd) {
        // The manager passes them without close-on-exec, and everything of ours has it: it marks those taken.
        const int flags = fcntl(fd, F_GETFD);
        if (flags < 0 || (flags & FD_CLOEXEC) != 0) continue;
        if (socket_option(fd, SO_ACCEPTCONN) != 1 || socket_option(fd, SO_TYPE) != SOCK_STREAM) continue;
        const Result<Address> bound = local_address(fd);
        if (!bound || !(*bound == at)) continue;
        if (fcntl(fd, F_SETFD, flags | FD_CLOEXEC) != 0) continue;
        const int status = fcntl(fd, F_GETFL);
        if (status < 0 || fcntl(fd, F_SETFL, status | O_NONBLOCK) != 0) continue;
        return Fd(fd);
    }
    return {};
}

}  // namespace mssl::proxy
