#include "proxy/server/member_session.h"

#include <algorithm>
#include <atomic>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "protocol/resolve.h"
#include "proxy/core/log.h"
#include "proxy/core/tls.h"
#include "proxy/core/output_watch.h"
#include "proxy/server/session_taker.h"

namespace mssl::proxy {
namespace {

// Frames passed on to objects before the session waits for them to be worked off: a member that floods fills no mailbox.
constexpr unsigned kFramesAhead = 1024;
// How often a draining session looks whether it may end.
constexpr Duration kDrainLook = std::chrono::milliseconds(20);

Hello own_hello(const Realm& realm) {
    Hello hello;
    hello.abilities = kAbilityPlain;
    hello.realm = realm.trust().id();
    return hello;
}

// What a certificate that TLS showed is wrong with, in codes that may cross the wire.
Errc membership_code(Errc code) { return code == Errc::expired ? Errc::expired : Errc::not_member; }

}  // namespace

struct MemberSessions::PerLoop {
    std::set<MemberSession*> sessions;  // that loop's thread
};

struct MemberSessions::Shared {
    SessionParts parts;
    std::vector<PerLoop> loops;
    std::atomic<std::size_t> open{0};
    std::atomic<bool> draining{false};
};

// One connection. The loop owns it from begin() until on_closed().
class MemberSession final : public Disposable, public WireHandler, public TakerSession {
public:
    MemberSession(Loop& loop, std::shared_ptr<MemberSessions::Shared> shared)
        : loop_(&loop),
          shared_(std::move(shared)),
          parts_(shared_->parts),
          realm_(parts_.realm()),
          wire_(std::make_unique<Wire>(loop, SessionRole::server_to_member, own_hello(*realm_), *this)),
          output_(*wire_, parts_.silence),
          timer_(loop, [this] { tick(); }),
          begun_(loop.now()),
          heard_(begun_) {}
    ~MemberSession() override;
    void begin(std::unique_ptr<Stream> stream);
    // Ends when nothing that is open waits for anything, and nobody is on the way to open what was resolved a moment ago.
    void drain();

private:
    // Of the certificates only this: parsed they are 8 KiB a session.
    struct Member {
        MemberId id;
        WallTime not_after;
    };
    struct Opened {
        std::shared_ptr<HostedObject> object;
        std::shared_ptr<SessionTaker> taker;
        Ticket ticket;
        // Whose signer the member knows from its Resolved: what comes later is signed by the same, as long as that is good.
        std::shared_ptr<const Realm> realm;
        bool head_out = false;                // a HEAD is queued and may still wait there
        std::optional<HeadFrame> next_head;  // only the newest waits
        // What the member waits for here: blocks of its choice, or any.
        std::set<std::uint32_t> requested{};
        bool any = false;
    };

    // WireHandler
    void on_ready(const Hello&) override { ready_ = true; }
    Status on_frame(ControlFrame frame) override;
    Result<Slot> slot(const DataHeader&, std::size_t) override { return fail(Errc::unexpected, "DATA at a server"); }
    Status on_data(const DataHeader&, View) override { return fail(Errc::unexpected, "DATA at a server"); }
    void on_rtt(Duration) override { heard_ = loop_->now(); }
    void on_drained() override;
    void on_closed(const Error& why) override;
    // TakerSession
    void control_from_object(Handle handle, const ControlFrame& frame) override;
    void block_from_object(const BlockFrame& frame, BlockData data) override;

    Status on_enrol(const Enrol& enrol);
    void on_announce(const Announce& announce);
    Status on_open(const Open& open);
    Result<Opened> admit(const Open& open);
    void on_close(const Close& close);
    void on_renew(const Renew& renew);
    void on_report(const Report& report);
    void on_entry_changed();
    Opened* find(Handle handle);
    bool may_go_on(Handle handle, const Opened& opened);
    void pass_on(Handle handle, std::function<Status(HostedObject&, TakerId)> f);
    void close_handle(Handle handle, Errc code);
    void send_head(Opened& opened, const HeadFrame& head);
    void count_sent();
    void tick();

    Loop* loop_;
    std::shared_ptr<MemberSessions::Shared> shared_;
    const SessionParts& parts_;
    std::shared_ptr<const Realm> realm_;
    std::unique_ptr<Wire> wire_;
    OutputWatch output_;
    Timer timer_;
    std::shared_ptr<const bool> life_ = std::make_shared<const bool>(true);  // callbacks of others look whether this lives
    std::optional<Member> member_;
    Address address_;
    bool ready_ = false;
    bool enrolling_ = false;
    bool dialling_ = false;
    Directory::WatchId watch_ = 0;
    std::map<Handle, Opened> opened_;
    std::vector<Handle> heads_out_;
    unsigned passed_on_ = 0;
    unsigned round_trips_ = 0;  // while there are any, nothing more is read
    std::unique_ptr<Timer> drain_timer_;  // from drain() on
    MonoTime begun_;
    MonoTime heard_;
    std::uint64_t handles_ever_ = 0;
    std::uint64_t counted_ = 0;  // of the payload that left
};

// ── Life ──

MemberSession::~MemberSession() {
    for (auto& [_, o] : opened_) o.taker->leave();
    if (watch_ != 0) parts_.directory->unwatch(member_->id, watch_);
}

void MemberSession::begin(std::unique_ptr<Stream> stream) {
    address_ = stream->peer();
    const Result<PeerMembership> member = member_of(stream->ssl(), realm_->trust(), parts_.wall());
    forget_chain(stream->ssl());
    stream->set_idle_timeout(MemberSessions::kDead + MemberSessions::kPing);
    // Told after every record, for what is counted and for the HEADs that wait.
    wire_->set_low_mark(std::numeric_limits<std::size_t>::max());
    wire_->begin(std::move(stream));
    timer_.start(MemberSessions::kSilent);
    if (member) {
        member_ = Member{member->id, member->certificate.not_after()};
        watch_ = parts_.directory->watch(member_->id, *loop_, [this, life = std::weak_ptr(life_)] {
            if (!life.expired()) on_entry_changed();
        });
    } else if (member.code() != Errc::not_member) {
        log::warning("certificate refused", {{"address", address_.ip_string()}, {"error", member.error().to_string()}});
        wire_->fail(membership_code(member.code()), "this is no valid membership of the realm");
    }
}

void MemberSession::drain() {
    if (!drain_timer_) drain_timer_ = std::make_unique<Timer>(*loop_, [this] { drain(); });
    const bool waits = std::ranges::any_of(opened_, [](const auto& o) { return o.second.any || !o.second.requested.empty(); });
    if (waits || enrolling_ || wire_->queued_data() != 0 || parts_.tickets->awaits_open(loop_->now())) return drain_timer_->start(kDrainLook);
    wire_->fail(Errc::shutting_down, "the server goes down");
}

void MemberSession::on_closed(const Error& why) {
    timer_.stop();
    output_.stop();
    if (drain_timer_) drain_timer_->stop();
    count_sent();
    for (auto& [_, o] : opened_) o.taker->leave();
    opened_.clear();
    log::info("member session done", {{"member", member_ ? member_->id.hex() : std::string("none")},
                                      {"address", address_.ip_string()},
                                      {"ms", (loop_->now() - begun_).count() / 1000},
                                      {"objects", handles_ever_},
                                      {"bytes_out", counted_},
                                      {"why", why.to_string()}});
    shared_->loops[loop_->number()].sessions.erase(this);
    shared_->open.fetch_sub(1, std::memory_order_relaxed);
    loop_->dispose(std::move(wire_));
    loop_->release(this);
}

void MemberSession::tick() {
    const MonoTime now = loop_->now();
    if (!ready_) return wire_->fail(Errc::timed_out, "no HELLO");
    if (!member_ && !enrolling_) return wire_->fail(Errc::not_member, "neither a certificate nor an enrolment");
    if (now - heard_ > MemberSessions::kDead) return wire_->fail(Errc::timed_out, "no answer to PING");
    wire_->ping();
    timer_.start(MemberSessions::kPing);
}

// ── Frames of the member ──

Status MemberSession::on_frame(ControlFrame frame) {
    heard_ = loop_->now();
    if (const auto* enrol = std::get_if<Enrol>(&frame)) return on_enrol(*enrol);
    if (!member_) return fail(Errc::not_member, "only ENROL without a membership certificate");

    if (const auto* announce = std::get_if<Announce>(&frame)) {
        on_announce(*announce);
    } else if (const auto* open = std::get_if<Open>(&frame)) {
        return on_open(*open);
    } else if (const auto* close = std::get_if<Close>(&frame)) {
        on_close(*close);
    } else if (const auto* request = std::get_if<Request>(&frame)) {
        if (Opened* o = find(request->handle); o != nullptr && !request->nodes_only) o->requested.insert(request->block.v);
        pass_on(request->handle, [f = *request](HostedObject& o, TakerId id) { return o.on_request(id, f); });
    } else if (const auto* any = std::get_if<Any>(&frame)) {
        if (Opened* o = find(any->handle)) o->any = any->tokens != 0;
        pass_on(any->handle, [f = *any](HostedObject& o, TakerId id) -> Status {
            o.on_any(id, f);
            return {};
        });
    } else if (const auto* progress = std::get_if<Progress>(&frame)) {
        pass_on(progress->handle, [f = *progress](HostedObject& o, TakerId id) { return o.on_progress(id, f); });
    } else if (const auto* cancel = std::get_if<Cancel>(&frame)) {
        wire_->drop_block(cancel->handle, cancel->block);
        if (Opened* o = find(cancel->handle)) o->requested.erase(cancel->block.v);
        pass_on(cancel->handle, [f = *cancel](HostedObject& o, TakerId id) -> Status {
            o.on_cancel(id, f);
            return {};
        });
    } else if (const auto* renew = std::get_if<Renew>(&frame)) {
        on_renew(*renew);
    } else if (const auto* report = std::get_if<Report>(&frame)) {
        on_report(*report);
    } else {
        return fail(Errc::unexpected, "a frame that no member sends");
    }
    return {};
}

Status MemberSession::on_enrol(const Enrol& enrol) {
    if (std::exchange(enrolling_, true)) return fail(Errc::unexpected, "a second ENROL");
    const Result<Hash> exporter = wire_->stream().exporter(kEnrolExporter);
    if (!exporter) return exporter.error();
    const std::shared_ptr<const Realm> realm = parts_.enrolment->realm();
    parts_.runtime->workers.submit(
        *loop_,
        [enrolment = parts_.enrolment, realm, enrol, exporter = *exporter, now = parts_.wall()] {
            return enrolment->enrol(*realm, enrol, exporter.view(), now);
        },
        [this, realm, life = std::weak_ptr(life_)](Result<Certificate> made) {
            if (life.expired() || !wire_) return;
            if (!made) {
                log::warning("enrolment refused", {{"address", address_.ip_string()}, {"error", made.error().to_string()}});
                return wire_->fail(wire_code(made.code()), "enrolment refused");
            }
            add(loop_->counters().members_enrolled);
            log::info("member enrolled", {{"member", made->member_id().hex()}, {"address", address_.ip_string()}});
            wire_->send(Enrolled{realm->trust().realm.to_der(), realm->signer().to_der(), made->to_der()});
            enrolling_ = false;
        });
    return {};
}

void MemberSession::on_announce(const Announce& announce) {
    Address at = address_;
    at.set_port(announce.port);
    const auto answer = [this, at](bool reachable) { wire_->send(Announced{reachable, at.to_string()}); };
    if (announce.port == 0) {
        parts_.directory->set_unreachable(member_->id);
        return answer(false);
    }
    if (parts_.directory->reachable(member_->id, at)) return answer(true);
    if (dialling_ || !parts_.dial_back || !parts_.directory->may_dial(member_->id, at, loop_->now())) return answer(false);
    dialling_ = true;
    parts_.dial_back->dial(*loop_, at, member_->id, realm_->trust(), [this, at, answer, life = std::weak_ptr(life_)](const Status& s) {
        if (life.expired() || !wire_) return;
        dialling_ = false;
        if (s)
            parts_.directory->set_reachable(member_->id, at);
        else
            log::info("member cannot be dialled", {{"member", member_->id.hex()},
                                                   {"address", at.to_string()},
                                                   {"error", s.error().to_string()}});
        answer(s.has_value());
    });
}

// ── Handles ──

Result<MemberSession::Opened> MemberSession::admit(const Open& open) {
    const WallTime now = parts_.wall();
    if (opened_.size() >= MemberSessions::kMaxHandles) return fail(Errc::busy, "too many handles");
    if (past(member_->not_after, now)) return fail(Errc::expired, "the membership ended");
    Result<Ticket> ticket = parts_.tickets->check(*realm_, open.ticket_der, open.signer_der, member_->id, open.object, now);
    if (!ticket) return ticket.error();
    std::shared_ptr<HostedObject> object = parts_.objects->find(open.object);
    if (!object) return fail(Errc::no_such_object, "unknown object");
    if (object->state() == HostedObject::State::withdrawn) return fail(Errc::withdrawn, "the object was withdrawn");
    if (object->manifest()->body.block_bytes > wire_->session().max_block_bytes())
        return fail(Errc::unsupported, "blocks larger than this member takes");
    auto taker = std::make_shared<SessionTaker>(*this, *loop_, object, open.handle, member_->id, parts_.directory);
    std::shared_ptr<const Realm> realm = object->realm();
    return Opened{std::move(object), std::move(taker), *ticket, std::move(realm), false, std::nullopt, {}, false};
}

Status MemberSession::on_open(const Open& open) {
    if (opened_.contains(open.handle)) return fail(Errc::unexpected, "OPEN of a handle that is open");
    Result<Opened> opened = admit(open);
    if (!opened) {
        add(loop_->counters().tickets_refused);
        log::info("open refused", {{"member", member_->id.hex()},
                                   {"object", open.object.hex()},
                                   {"error", opened.error().to_string()}});
        close_handle(open.handle, opened.code());
        return {};
    }
    ++handles_ever_;
    opened->taker->attach();
    opened_.emplace(open.handle, std::move(*opened));
    return {};
}

void MemberSession::on_close(const Close& close) {
    const auto it = opened_.find(close.handle);
    if (it == opened_.end()) return;
    it->second.taker->leave();
    opened_.erase(it);
}

MemberSession::Opened* MemberSession::find(Handle handle) {
    const auto it = opened_.find(handle);
    return it == opened_.end() ? nullptr : &it->second;
}

void MemberSession::close_handle(Handle handle, Errc code) {
    if (Opened* o = find(handle)) {
        o->taker->leave();
        opened_.erase(handle);
    }
    wire_->send(Close{handle, true, wire_code(code)});
}

// A ticket is good for minutes; who does not renew it gets nothing more.
bool MemberSession::may_go_on(Handle handle, const Opened& opened) {
    if (!past(opened.ticket.not_after, parts_.wall())) return true;
    add(loop_->counters().tickets_refused);
    close_handle(handle, Errc::expired);
    return false;
}

// A frame about a handle that is not open may have crossed the server's CLOSE on its way: it is dropped.
void MemberSession::pass_on(Handle handle, std::function<Status(HostedObject&, TakerId)> f) {
    Opened* o = find(handle);
    if (o == nullptr || !may_go_on(handle, *o)) return;
    o->taker->tell(std::move(f), [this](const Error& why) {
        if (wire_) wire_->fail(why.code, why.detail);
    });
    if (++passed_on_ % kFramesAhead != 0) return;
    wire_->stream().want_read(false);
    ++round_trips_;
    o->object->loop().post([this, life = std::weak_ptr(life_), loop = loop_] {
        loop->post([this, life] {
            if (life.expired() || --round_trips_ != 0) return;
            if (wire_ && wire_->session().state() == Session::State::ready) wire_->stream().want_read(true);
        });
    });
}

void MemberSession::on_renew(const Renew& renew) {
    Opened* o = find(renew.handle);
    if (o == nullptr || !may_go_on(renew.handle, *o)) return;
    const WallTime now = parts_.wall();
    if (past(o->realm->signer().not_after(), now)) o->realm = o->object->realm();
    Result<SignedTicket> ticket =
        past(member_->not_after, now)
            ? Result<SignedTicket>(fail(Errc::expired, "the membership ended"))
            : parts_.tickets->renew(*o->realm, o->ticket, now);
    if (!ticket) {
        add(loop_->counters().tickets_refused);
        return close_handle(renew.handle, ticket.code());
    }
    add(loop_->counters().tickets_issued);
    o->ticket = ticket->body;
    wire_->send(TicketFrame{renew.handle, std::move(ticket->der)});
}

void MemberSession::on_report(const Report& report) {
    log::warning("member reported", {{"by", member_->id.hex()},
                                     {"member", report.member.hex()},
                                     {"error", errc_name(report.code)}});
    pass_on(report.handle, [report, by = member_->id, from = address_, directory = parts_.directory](HostedObject& o, TakerId id) -> Status {
        // A report proves nothing: it speaks for who makes it. Nobody gets rid of somebody he never met.
        if (!o.named(id, report.member) || !is_a_lie(report.code)) return {};
        o.leave_out(id, report.member);
        if (directory->report(by, from, report.member, report.code, mono_now()))
            log::warning("member left out", {{"member", report.member.hex()}, {"object", o.id().hex()}});
        return {};
    });
}

void MemberSession::on_entry_changed() {
    for (auto& [_, o] : opened_)
        o.taker->tell(
            [](HostedObject& object, TakerId id) -> Status {
                object.on_entry_changed(id);
                return {};
            },
            [](const Error&) {});
}

// ── From the objects ──

void MemberSession::control_from_object(Handle handle, const ControlFrame& frame) {
    Opened* o = find(handle);
    if (o == nullptr) return;
    if (const auto* head = std::get_if<HeadFrame>(&frame)) {
        if (o->head_out)
            o->next_head = *head;
        else
            send_head(*o, *head);
        return;
    }
    if (const auto* refuse = std::get_if<Refuse>(&frame)) o->requested.erase(refuse->block.v);
    wire_->send(frame);
    if (std::holds_alternative<Close>(frame)) {
        o->taker->leave();
        opened_.erase(handle);
    }
}

void MemberSession::send_head(Opened& opened, const HeadFrame& head) {
    wire_->send(head);
    opened.head_out = true;
    opened.next_head.reset();
    heads_out_.push_back(head.handle);
}

void MemberSession::count_sent() {
    const std::uint64_t sent = wire_->payload_sent();
    add(loop_->counters().bytes_to_members, sent - counted_);
    counted_ = sent;
}

// A record was written: what had been queued of HEADs is gone with it.
void MemberSession::on_drained() {
    count_sent();
    if (heads_out_.empty()) return;
    for (const Handle handle : std::exchange(heads_out_, {})) {
        Opened* o = find(handle);
        if (o == nullptr) continue;
        o->head_out = false;
        if (o->next_head) send_head(*o, HeadFrame(*o->next_head));
    }
}

void MemberSession::block_from_object(const BlockFrame& frame, BlockData data) {
    Opened* o = find(frame.handle);
    if (o == nullptr) return;
    // The block may be one that only the newest head covers.
    if (o->next_head) send_head(*o, HeadFrame(*o->next_head));
    if (frame.length != 0) o->requested.erase(frame.block.v);
    wire_->send_block(frame, PayloadRef{frame.handle, frame.block, std::move(data), frame.length});
    if (frame.length != 0) output_.queued();
}

// ── All of them ──

MemberSessions::MemberSessions(SessionParts parts) : shared_(std::make_shared<Shared>()) {
    shared_->loops.resize(parts.runtime->loops.size());
    shared_->parts = std::move(parts);
}

MemberSessions::~MemberSessions() = default;

void MemberSessions::begin(Loop& loop, std::unique_ptr<Stream> stream) {
    auto session = std::make_unique<MemberSession>(loop, shared_);
    MemberSession& started = *session;
    loop.adopt(std::move(session));
    shared_->loops[loop.number()].sessions.insert(&started);
    shared_->open.fetch_add(1, std::memory_order_relaxed);
    started.begin(std::move(stream));
    if (shared_->draining.load(std::memory_order_relaxed)) started.drain();
}

void MemberSessions::drain() {
    shared_->draining.store(true, std::memory_order_relaxed);
    LoopGroup& loops = shared_->parts.runtime->loops;
    for (unsigned i = 0; i < loops.size(); ++i)
        loops.at(i).post([shared = shared_, i] {
            for (MemberSession* session : shared->loops[i].sessions) session->drain();
        });
}

std::size_t MemberSessions::open() const { return shared_->open.load(std::memory_order_relaxed); }

}  // namespace mssl::proxy
