// A server, clients and liars around one object: real sessions, signed heads, Merkle proofs, Download, Upload, Spread.
#pragma once

#include <map>
#include <set>
#include <string>

#include "protocol/download.h"
#include "protocol/spread.h"
#include "protocol/upload.h"
#include "tests/sim/net.h"

namespace mssl::sim {

enum class Lie { none, flipped_bit, wrong_node, other_block, too_much, nothing, byte_a_second, garbage };
const char* lie_name(Lie lie);

using Payload = std::shared_ptr<const std::uint8_t[]>;

// What is true: the object's bytes, its tree, and who signs.
struct Truth {
    Truth(std::uint64_t length, std::uint64_t seed);
    Payload block(BlockIndex i) const { return {bytes, bytes.get() + geometry.block_offset(i)}; }
    Geometry geometry;
    ObjectId object;
    Payload bytes;
    std::vector<Hash> nodes;
    MerkleTree tree;
    KeyPair signer;
};

class Swarm;

class Server final : public Host {
public:
    Server(Swarm& swarm, double up, double origin_rate);
    ~Server() override;
    // Its end of a connection with a new client.
    End& accept();
    std::uint64_t sent_data() const { return sent_; }
    std::uint64_t origin_reads() const { return origin_reads_; }
    std::uint64_t given() const { return spread_.given(); }
    bool all_out() const { return spread_.all_out(); }

private:
    struct Member;
    void refill() override;
    void read_origin();
    bool give_fresh();
    bool serve_request();
    void send(Member& m, const Upload::Job& job);
    void tell_all_out();

    Swarm* swarm_;
    double origin_rate_;
    MerkleTree tree_;
    Bitmap held_;
    Spread spread_;
    std::optional<SignedHead> head_;
    std::vector<std::unique_ptr<Member>> members_;
    std::size_t turn_ = 0;
    std::uint64_t sent_ = 0;
    std::uint64_t origin_reads_ = 0;
};

class Client final : public Host {
public:
    Client(Swarm& swarm, std::size_t number, double up, Lie lie, DownloadLimits limits);
    ~Client() override;
    static constexpr std::size_t kServer = SIZE_MAX;  // the server among those who were blamed
    void join();
    void meet(Client& other);
    std::size_t number() const { return number_; }
    Lie lie() const { return lie_; }
    bool joined() const { return joined_; }
    const Download& download() const { return download_; }
    MonoTime finished() const { return finished_; }
    MonoTime joined_at() const { return joined_at_; }
    bool wrong_bytes() const { return wrong_bytes_; }
    bool has_failed() const { return failed_; }
    std::uint64_t uploaded() const { return uploaded_; }
    // Whom it cut, or whose session broke the protocol, and why.
    const std::map<std::size_t, std::string>& blamed() const { return blamed_; }
    const std::set<std::size_t>& lied_to() const { return lied_to_; }
    const std::set<std::size_t>& passed_over() const { return passed_over_; }
    std::uint64_t from(std::size_t peer) const;

private:
    struct Peer;
    struct Heap final : BlockBuffers {
        std::shared_ptr<std::uint8_t[]> get(std::size_t n) override { return std::shared_ptr<std::uint8_t[]>(new std::uint8_t[n]); }
    };
    Peer& add_peer(SessionRole role, Client* other, SourceKind kind);
    void refill() override;
    void tick();
    void drain();
    void act(DownloadAction& action);
    void serve(Peer& peer, const Upload::Job& job);
    void trickle(Peer& peer, DataHeader at);
    Status on_request(Peer& peer, const Request& request);
    void report();
    std::uint8_t level() const;
    Bitmap shown() const;

    Swarm* swarm_;
    std::size_t number_;
    Lie lie_;
    Heap heap_;
    Download download_;
    std::vector<std::unique_ptr<Peer>> peers_;
    std::optional<SignedHead> head_;
    std::size_t turn_ = 0;
    bool joined_ = false;
    bool draining_ = false;
    bool wrong_bytes_ = false;
    bool failed_ = false;
    MonoTime joined_at_{};
    MonoTime finished_{};
    std::uint64_t reader_ = 0;
    std::uint64_t uploaded_ = 0;
    std::uint64_t reported_ = 0;
    MonoTime next_report_{};
    std::map<std::size_t, std::string> blamed_;
    std::set<std::size_t> lied_to_, passed_over_;
};

class Swarm {
public:
    struct Setup {
        std::uint64_t length = 4 << 20;
        std::uint64_t seed = 1;
        double server_up = 12.5e6;
        double client_up = 12.5e6;
        double origin_rate = 200e6;
        Duration latency = std::chrono::milliseconds(5);
        std::size_t degree = 24;       // more clients than this know only so many others
        DownloadLimits limits;
    };
    explicit Swarm(const Setup& setup);
    Client& add(Lie lie = Lie::none);
    // The client comes at that time, and meets who is there.
    void join_at(Client& c, Duration when);
    // Until done says so, or time is up. False: time was up, or nothing happens any more.
    bool run(Duration limit, const std::function<bool()>& done);
    bool honest_complete() const;
    // 0.75 … 1.25, so that each seed is another swarm.
    double jitter();
    Duration some_latency();

    Setup setup;
    Clock clock;
    Truth truth;
    std::mt19937_64 random;
    std::unique_ptr<Server> server;
    std::vector<std::unique_ptr<Client>> clients;
};

}  // namespace mssl::sim
