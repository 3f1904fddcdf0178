#include "proxy/client/peer_door.h"

#include <utility>

#include "proxy/client/client_hello.h"

namespace mssl::proxy {
namespace {

// From the connection to a whole ClientHello.
constexpr Duration kHelloTime = std::chrono::seconds(10);
constexpr Duration kIdle = std::chrono::seconds(60);  // of the session then
constexpr std::size_t kPiece = 4096;

}  // namespace

void PeerDoor::open(Loop& loop, Fd fd, Choose choose, Enter enter) {
    std::unique_ptr<PeerDoor> made(new PeerDoor(loop, std::move(choose), std::move(enter)));
    PeerDoor& door = *made;
    loop.adopt(std::move(made));
    door.stream_ = Stream::accept(loop, std::move(fd), nullptr, door);
    door.deadline_.start(kHelloTime);
    door.stream_->want_read(true);
}

PeerDoor::~PeerDoor() {
    if (stream_) loop_.dispose(std::move(stream_));
}

void PeerDoor::on_readable() {
    Result<ClientHello> hello = fail(Errc::truncated);
    while (first_.size() < kMaxClientHelloBytes) {
        const std::size_t have = first_.size();
        first_.resize(have + kPiece);
        const Result<std::size_t> n = stream_->read(MutableView(first_).subspan(have));
        first_.resize(have + (n ? *n : 0));
        if (!n && n.code() == Errc::again) return;
        if (!n) return over();
        hello = read_client_hello(first_);
        if (hello || hello.code() != Errc::truncated) break;
    }
    // What is no hello TLS refuses as it should be refused.
    const std::shared_ptr<const Membership> membership = choose_(hello ? std::string_view(hello->server_name) : std::string_view());
    if (!membership) return over();
    stream_->want_read(false);
    stream_->set_idle_timeout(kIdle);
    stream_->start_tls(membership->peer_accept_context.get(), std::exchange(first_, {}));
    enter_(std::move(stream_), membership);
    over();
}

}  // namespace mssl::proxy
