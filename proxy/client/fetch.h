// The sources of one transfer: the server's handle and the links to peers, and the Download that says which block comes from whom.
// Carries out the Download's actions and tells the transfer what verified.
//
// Thread rules: the transfer's loop.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>

#include "protocol/download.h"
#include "proxy/client/banned.h"
#include "proxy/client/peer_link.h"
#include "proxy/client/resolution.h"
#include "proxy/client/server_link.h"
#include "proxy/client/transfer.h"

namespace mssl::proxy {

class FetchUser {
public:
    virtual ~FetchUser() = default;
    virtual void on_fetched(const VerifiedBlock& block, const Hash& node) = 0;
    virtual void on_fetch_finished() = 0;
    virtual void on_fetch_failed(const Error& why) = 0;
    virtual void on_fetch_head(const SignedHead& head) = 0;
};

class Fetch final : private ServerLinkUser, private PeerLinkUser {
public:
    Fetch(Loop& loop, std::shared_ptr<const Membership> self, std::shared_ptr<ServerLink> server,
          std::shared_ptr<BannedPeers> banned, BlockBuffers& buffers, const Resolution& resolution, DownloadLimits limits,
          FetchUser& user);
    ~Fetch() override;

    // have and nodes: what the store vouches for.
    void start(const Bitmap& have, const std::vector<std::pair<NodePosition, Hash>>& nodes);
    // A newer Resolution of the same object: ticket and head.
    void update(const Resolution& resolution);
    // No more requests; the server's handle stays, so that others find this member as a provider.
    void stop();
    // After stop(): goes on with what is missing.
    void resume();
    bool stopped() const { return stopped_; }
    void set_readers(const std::vector<std::uint64_t>& offsets);
    void set_upload_level(std::uint8_t level);
    void set_hard_window(std::uint64_t bytes);
    void forget(BlockIndex block);
    // So many blocks wait for the disk.
    void set_writing(std::size_t blocks);

    const Download& download() const { return download_; }
    std::vector<PeerStatus> peers() const;
    const std::vector<std::string>& cut() const { return cut_; }
    const std::string& last_error() const { return last_error_; }
    std::uint64_t rejected() const { return rejected_; }

private:
    struct Known {
        PeerEntry entry;
        std::unique_ptr<PeerLink> link;
        MonoTime retry_at{};
        Duration backoff{};
        std::uint32_t stalls = 0;  // of this link, those that were logged
    };
    // ServerLinkUser
    void on_link_up() override;
    void on_link_down(const Error& why) override;
    Status on_link_frame(ControlFrame frame) override;
    Result<Slot> on_link_slot(const DataHeader& h, std::size_t payload_bytes) override;
    Status on_link_data(const DataHeader& h, View payload) override;
    void on_link_rtt(Duration rtt) override;
    // PeerLinkUser
    void on_peer_open(PeerLink& peer, const Bitmap& have) override;
    Status on_peer_frame(PeerLink& peer, ControlFrame frame) override;
    Result<Slot> on_peer_slot(PeerLink& peer, const DataHeader& h, std::size_t payload_bytes) override;
    Status on_peer_data(PeerLink& peer, const DataHeader& h, View payload) override;
    void on_peer_rtt(PeerLink& peer, Duration rtt) override;
    void on_peer_closed(PeerLink& peer, const Error& why) override;

    Status on_source_frame(SourceId source, ControlFrame frame);
    Status on_server_frame(ControlFrame frame);
    Status take_head(const Bytes& der, bool by_server);
    void take_ticket(const Bytes& der);
    void look_at_unproven();
    // What came on the server's handle breaks the rules: that handle's affair alone.
    void blame_server(const Error& why);
    // By whichever signer of the realm is known here. wrong_realm: by none of them.
    template <class Parse>
    auto parse_signed(const Bytes& der, Parse parse);
    void know_signer(const Certificate& signer);
    void on_peers(const Peers& peers);
    void drop_banned();
    void dial();
    void log_stalls();
    void close_link(Known& known);
    void act();
    void perform(DownloadAction& action);
    void cut(const CutSource& cut);
    void reopen_server();
    void fresh_handle();
    void send_progress(bool bitmap);
    void schedule();
    void tick();
    void fail(const Error& why);
    Error no_source() const;
    Known* known_of(SourceId source);

    Loop* loop_;
    std::shared_ptr<const Membership> self_;
    std::shared_ptr<ServerLink> server_;
    std::shared_ptr<BannedPeers> banned_;
    FetchUser* user_;
    std::shared_ptr<const SignedManifest> manifest_;
    std::shared_ptr<const SignedTicket> ticket_;
    std::shared_ptr<const SignedHead> head_;
    Certificate ticket_signer_;         // who signed ticket_
    std::vector<Certificate> signers_;  // of the realm, newest last: a server renews its own while transfers run
    // The newest that came from the server under a signer that nothing has shown yet; empty: none.
    Bytes unproven_ticket_, unproven_head_;
    Download download_;
    Handle handle_{};
    std::optional<SourceId> server_source_;
    std::uint32_t next_source_ = 1;
    std::map<MemberId, Known> known_;
    std::map<SourceId, MemberId> by_source_;
    Timer timer_;
    Timer housekeeping_;
    MonoTime renew_at_{};
    MonoTime alone_since_{};
    bool alone_ = true;
    bool opening_ = false;  // OPEN is sent and not answered: a handle is opened once
    bool server_wrong_ = false;  // since the link was last up its certificate did not verify
    std::uint64_t progress_sent_ = 0;
    unsigned server_cuts_ = 0;
    bool started_ = false, stopped_ = false, failed_ = false, acting_ = false;
    std::vector<std::string> cut_;
    std::string last_error_;
    std::uint64_t rejected_ = 0;
};

}  // namespace mssl::proxy
