// A member that lies: enrols, fetches an object as any member does, so that the directory names it as a provider, and then serves
// it wrongly. Built on the daemon's own library: only what it sends to peers is its own.
//
//     liar -c CLIENT.toml -u http://HOST/PATH -m MODE
//
// Says "holding" on standard output once it holds the object, and "served N" for each lie.
#include <getopt.h>

#include <cstdlib>
#include <iostream>

#include "proxy/client/peer_session.h"
#include "proxy/client/resolver.h"
#include "proxy/client/transfer.h"
#include "proxy/core/log.h"

namespace mssl::proxy {
namespace {

enum class Mode { flip, nodes, other, excess, silent, trickle, garbage };

std::optional<Mode> mode_of(std::string_view name) {
    constexpr std::pair<std::string_view, Mode> modes[] = {
        {"flip", Mode::flip},     {"nodes", Mode::nodes},     {"other", Mode::other},     {"excess", Mode::excess},
        {"silent", Mode::silent}, {"trickle", Mode::trickle}, {"garbage", Mode::garbage}};
    for (const auto& [n, m] : modes)
        if (n == name) return m;
    return std::nullopt;
}

// Everything it holds, whole in memory.
struct Held {
    Geometry geometry;
    ObjectId object;
    Bytes head_der;
    std::uint64_t head_blocks = 0;
    std::vector<VerifiedBytes> blocks;
    MerkleTree tree;
};

// One downloader that is lied to. Writes frames by itself: a Session would not let it.
class Lie final : public StreamHandler, public FrameSink {
public:
    // held may be null still, as when the server dials back; it outlives this.
    Lie(Loop& loop, Fd fd, SSL_CTX* context, std::shared_ptr<const Membership> self, const std::shared_ptr<const Held>& held,
        Mode mode)
        : loop_(&loop),
          self_(std::move(self)),
          held_(held),
          mode_(mode),
          parser_(*this),
          trickle_(loop, [this] { drip(); }),
          stream_(Stream::accept(loop, std::move(fd), context, *this)) {}

    void on_open() override {
        Hello hello;
        hello.abilities = kAbilityPlain;
        hello.realm = self_->trust.id();
        send(encode_frame(hello));
        stream_->want_read(true);
    }
    void on_readable() override {
        for (;;) {
            const MutableView into = parser_.prepare();
            Result<std::size_t> n = stream_->read(into);
            if (!n) {
                if (n.code() != Errc::again) stream_->want_read(false);
                return;
            }
            if (Status s = parser_.commit(*n); !s) return stream_->want_read(false);
        }
    }
    void on_writable() override {
        while (!out_.empty()) {
            const View piece = View(out_).first(std::min(out_.size(), kMaxRecordBytes));
            Result<std::size_t> n = stream_->write(piece);
            if (!n) {
                if (n.code() != Errc::again) stream_->want_write(false);
                return;
            }
            out_.erase(out_.begin(), out_.begin() + static_cast<std::ptrdiff_t>(*n));
        }
        stream_->want_write(false);
    }
    void on_error(const Error&) override {}

    Status on_frame(ControlFrame frame) override {
        if (const auto* ping = std::get_if<Ping>(&frame)) send(encode_frame(Pong{ping->cookie}));
        if (const auto* open = std::get_if<Open>(&frame); open && held_) {
            Bitmap all(held_->geometry.block_count());
            all.set_all();
            send(encode_frame(Opened{open->handle, all.size(), all.to_wire()}));
            send(encode_frame(HeadFrame{open->handle, held_->head_der}));
        }
        if (const auto* request = std::get_if<Request>(&frame); request && held_) lie(*request);
        return {};
    }
    Result<Slot> slot(const DataHeader&, std::size_t) override { return Slot{}; }
    Status on_data(const DataHeader&, View) override { return {}; }

private:
    void lie(const Request& request) {
        if (request.block.v >= held_->blocks.size() || mode_ == Mode::silent) return;
        std::cout << "served " << request.block.v << std::endl;
        const auto node = [this](NodePosition p) { return held_->tree.node(p); };
        Result<std::vector<Hash>> nodes = collect_nodes(request.block, request.nodes, request.head_blocks, node);
        if (!nodes) return;
        BlockIndex source = request.block;
        // Another block of the same length, where there is one.
        if (mode_ == Mode::other) source.v = source.v == 0 ? 1 : source.v - 1;
        const View whole = held_->blocks[source.v].view();
        Bytes data(whole.begin(), whole.end());
        data.resize(held_->geometry.block_length(request.block));
        if (mode_ == Mode::flip || (mode_ == Mode::nodes && nodes->empty())) data[data.size() / 2] ^= 1;
        if (mode_ == Mode::nodes && !nodes->empty()) nodes->front().bytes[0] ^= 1;
        if (mode_ == Mode::garbage) return send(Bytes(4096, 0xff));
        const std::uint32_t length = request.nodes_only ? 0 : static_cast<std::uint32_t>(data.size());
        send(encode_frame(BlockFrame{request.handle, request.block, length, request.head_blocks, request.nodes, *nodes}));
        if (length == 0) return;
        if (mode_ == Mode::trickle) {
            dripping_.push_back({request.handle, request.block, std::move(data), 0});
            if (!trickle_.running()) drip();
            return;
        }
        std::uint32_t at = 0;
        while (at < data.size()) {
            const std::size_t n = std::min(kMaxDataPayload, data.size() - at);
            put(request.handle, request.block, at, View(data).subspan(at, n));
            at += static_cast<std::uint32_t>(n);
        }
        if (mode_ == Mode::excess) put(request.handle, request.block, at, View(data).first(1000));
    }
    void put(Handle handle, BlockIndex block, std::uint32_t offset, View payload) {
        const auto header = encode_data_header({handle, block, offset}, payload.size());
        out_.insert(out_.end(), header.begin(), header.end());
        send(Bytes(payload.begin(), payload.end()));
    }
    // One byte a second.
    void drip() {
        if (dripping_.empty()) return;
        Drip& d = dripping_.front();
        put(d.handle, d.block, d.at, View(d.data).subspan(d.at, 1));
        if (++d.at == d.data.size()) dripping_.erase(dripping_.begin());
        trickle_.start(std::chrono::seconds(1));
    }
    void send(const Bytes& bytes) {
        out_.insert(out_.end(), bytes.begin(), bytes.end());
        stream_->want_write(true);
    }

    struct Drip {
        Handle handle;
        BlockIndex block;
        Bytes data;
        std::uint32_t at;
    };
    Loop* loop_;
    std::shared_ptr<const Membership> self_;
    const std::shared_ptr<const Held>& held_;
    Mode mode_;
    FrameParser parser_;
    Bytes out_;
    std::vector<Drip> dripping_;
    Timer trickle_;
    std::unique_ptr<Stream> stream_;
};

class Liar final : public ResolverHandler {
public:
    Liar(Runtime& runtime, const ClientConfig& config, Authority authority, std::string target, Mode mode)
        : runtime_(runtime),
          config_(config),
          authority_(std::move(authority)),
          target_(std::move(target)),
          mode_(mode),
          pool_(runtime.loops.at(0), runtime.workers) {}

    Status start() {
        Result<std::shared_ptr<Site>> site = Site::open(runtime_, config_, config_.sites.front());
        if (!site) return site.error();
        site_ = *site;
        Result<std::unique_ptr<Listener>> listener =
            Listener::open(runtime_.loops, *config_.peer_listen, [this](Loop& loop, Fd fd, const Address&) {
                const auto self = site_->current();
                if (self)
                    lies_.push_back(std::make_unique<Lie>(loop, std::move(fd), self->peer_accept_context.get(), self, held_, mode_));
            });
        if (!listener) return listener.error();
        listener_ = std::move(*listener);
        listener_->start();
        store_ = StoreDirectory::open(config_.state + "/store", config_.store_max, runtime_.workers, runtime_.buffers);
        transfers_ = Transfers::create(runtime_, store_, config_, config_.peer_listen->port());
        RequestHead head;
        head.method = "GET";
        head.target = target_;
        head.fields.add("Host", authority_.host);
        resolver_ = Resolver::start(pool_, site_, UrlRoot{Scheme::http, authority_}, head, *this);
        return {};
    }

    void on_resolved(Resolution resolution) override {
        auto held = std::make_shared<Held>();
        held->geometry = resolution.manifest->body.geometry();
        held->object = resolution.manifest->body.object;
        held->blocks.resize(held->geometry.block_count());
        head_ = resolution.head;
        transfers_->join(site_, std::move(resolution), runtime_.loops.at(0),
                         [this, held](Result<std::unique_ptr<TransferReader>> reader) {
                             if (!reader) return die(reader.error());
                             reader_ = std::move(*reader);
                             next(held, 0);
                         });
    }
    void on_response_head(ResponseHead head) override { die(fail(Errc::internal, "not shared: " + std::to_string(head.status))); }
    void on_body(View) override {}
    void on_complete() override {}
    void on_error(const Error& error) override { die(error); }

private:
    void next(std::shared_ptr<Held> held, std::uint32_t block) {
        if (block == held->blocks.size()) {
            for (const VerifiedBytes& b : held->blocks) held->tree.append(hash_block(b.view()));
            held->head_blocks = held->blocks.size();
            // Its newest head; what it serves under an older one ends at that one's peaks.
            held->head_der = head_->der;
            held_ = held;
            std::cout << "holding" << std::endl;
            return;
        }
        reader_->read(BlockIndex{block}, [this, held, block](Result<VerifiedBytes> bytes) {
            if (!bytes) return die(bytes.error());
            held->blocks[block] = std::move(*bytes);
            reader_->position((std::uint64_t{block} + 1) * held->geometry.block_bytes());
            next(held, block + 1);
        });
    }
    void die(const Error& why) {
        std::cerr << "liar: " << why.to_string() << std::endl;
        std::_Exit(1);
    }

    Runtime& runtime_;
    const ClientConfig& config_;
    Authority authority_;
    std::string target_;
    Mode mode_;
    HttpPool pool_;
    std::shared_ptr<Site> site_;
    std::unique_ptr<Listener> listener_;
    std::shared_ptr<StoreDirectory> store_;
    std::shared_ptr<Transfers> transfers_;
    std::unique_ptr<Resolver> resolver_;
    std::unique_ptr<TransferReader> reader_;
    std::shared_ptr<const SignedHead> head_;
    std::shared_ptr<const Held> held_;
    std::vector<std::unique_ptr<Lie>> lies_;
};

int run(int argc, char** argv) {
    std::string config_path, url, mode_name;
    for (int c; (c = getopt(argc, argv, "c:u:m:")) != -1;) {
        if (c == 'c') config_path = optarg;
        if (c == 'u') url = optarg;
        if (c == 'm') mode_name = optarg;
    }
    const std::optional<Mode> mode = mode_of(mode_name);
    Result<AbsoluteTarget> target = parse_absolute(url);
    Result<std::shared_ptr<const Config>> config = load_config(config_path);
    if (!mode || !target || !config || !(*config)->client || !(*config)->client->peer_listen) {
        std::cerr << "liar -c CLIENT.toml -u URL -m flip|nodes|other|excess|silent|trickle|garbage\n";
        if (!config) std::cerr << config.error().detail << "\n";
        return 2;
    }
    LoopGroup loops(1);
    Workers workers(2);
    BufferPool buffers(std::size_t{256} << 20);
    Runtime runtime{loops, workers, buffers};
    Liar liar(runtime, *(*config)->client, target->authority, target->target, *mode);
    if (Status s = liar.start(); !s) {
        std::cerr << "liar: " << s.error().to_string() << "\n";
        return 1;
    }
    loops.run();
    return 0;
}

}  // namespace
}  // namespace mssl::proxy

int main(int argc, char** argv) { return mssl::proxy::run(argc, argv); }
