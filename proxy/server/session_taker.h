// A member's handle on an object, between the session's loop and the object's. Each side keeps a reference and touches only its own
// half; what passes between them is posted.
//
// Thread rules: ObjectTaker's methods in the owner loop; attach(), tell() and leave() in the session's loop.
#pragma once

#include <functional>
#include <memory>
#include <utility>

#include "proxy/core/loop.h"
#include "proxy/server/directory.h"
#include "proxy/server/hosted_object.h"

namespace mssl::proxy {

// The session, as its takers see it. In its own loop.
class TakerSession {
public:
    virtual ~TakerSession() = default;
    virtual void control_from_object(Handle handle, const ControlFrame& frame) = 0;
    virtual void block_from_object(const BlockFrame& frame, BlockData data) = 0;
};

class SessionTaker final : public ObjectTaker, public std::enable_shared_from_this<SessionTaker> {
public:
    SessionTaker(TakerSession& session, Loop& session_loop, const std::shared_ptr<HostedObject>& object, Handle handle,
                 const MemberId& member, std::shared_ptr<const Directory> directory)
        : session_(&session),
          session_loop_(&session_loop),
          object_(object),
          owner_(&object->loop()),
          handle_(handle),
          member_(member),
          directory_(std::move(directory)) {}

    // ── session's loop ──
    void attach() {
        owner_->post([self = shared_from_this(), object = object_.lock()] {
            if (object) self->id_ = object->attach(self, self->handle_);
        });
    }
    // Nothing of the object reaches the session from here on.
    void leave() {
        if (std::exchange(session_, nullptr) != nullptr)
            owner_->post([self = shared_from_this(), object = object_.lock()] {
                if (object) object->detach(self->id_);
            });
    }
    // Runs f(object, taker id) in the owner loop, after attach(). An error comes back to refused in the session's loop.
    void tell(std::function<Status(HostedObject&, TakerId)> f, std::function<void(const Error&)> refused) {
        owner_->post([self = shared_from_this(), object = object_.lock(), f = std::move(f), refused = std::move(refused)]() mutable {
            if (!object) return;
            const Status done = f(*object, self->id_);
            if (done) return;
            self->session_loop_->post([self, refused = std::move(refused), why = done.error()] {
                if (self->session_ != nullptr) refused(why);
            });
        });
    }

    // ── owner loop ──
    void send_control(const ControlFrame& frame) override {
        session_loop_->post([self = shared_from_this(), frame] {
            if (self->session_ != nullptr) self->session_->control_from_object(self->handle_, frame);
        });
    }
    void send_block(const BlockFrame& frame, BlockData data, std::function<void()> sent) override {
        // The bytes are let go of when the last chunk went to the kernel, or when the session ended: that is `sent`.
        const auto held = std::make_shared<const Held>(std::move(data), *owner_, std::move(sent));
        session_loop_->post([self = shared_from_this(), frame, held] {
            if (self->session_ == nullptr) return;
            self->session_->block_from_object(frame, held->data ? BlockData(held, held->data.get()) : nullptr);
        });
    }
    MemberId member() const override { return member_; }
    PeerEntry entry() const override { return directory_->entry(member_, mono_now()); }

private:
    struct Held {
        Held(BlockData d, Loop& o, std::function<void()> s) : data(std::move(d)), owner(&o), sent(std::move(s)) {}
        Held(const Held&) = delete;
        Held& operator=(const Held&) = delete;
        ~Held() { owner->post(sent); }
        BlockData data;
        Loop* owner;
        std::function<void()> sent;
    };
    TakerSession* session_;  // session's loop; null after leave()
    Loop* session_loop_;
    const std::weak_ptr<HostedObject> object_;  // the session holds it, and it holds this
    Loop* owner_;
    const Handle handle_;
    const MemberId member_;
    const std::shared_ptr<const Directory> directory_;
    TakerId id_;             // owner loop
};

}  // namespace mssl::proxy
