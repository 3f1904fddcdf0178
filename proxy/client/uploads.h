// Serving one object to other members (DESIGN 3, 9): who takes it, what each asked for, HAVE as blocks verify. Lives beside the
// Transfer in the object's owner loop; the takers' sessions are in any loop.
//
// Thread rules: one loop. Takers are called in it and post to their own.
#pragma once

#include <functional>
#include <map>
#include <memory>

#include "protocol/upload.h"
#include "proxy/client/rate_limit.h"
#include "proxy/core/loop.h"
#include "proxy/store/store.h"

namespace mssl::proxy {

// A member that downloads from here. Harmless after its session ended.
class UploadTaker {
public:
    virtual ~UploadTaker() = default;
    virtual void send_control(ControlFrame frame) = 0;
    // data null when frame.length is 0. sent: posted to the owner loop once all went to the kernel, or the session ended.
    virtual void send_block(BlockFrame frame, BlockData data, std::function<void()> sent) = 0;
    // This downloader broke the protocol.
    virtual void fail(const Error& why) = 0;
    virtual MemberId member() const = 0;
};

class Uploads {
public:
    using UploadId = std::uint64_t;
    using ReadBlock = std::function<void(BlockIndex, std::function<void(Result<BlockData>)>)>;
    // read answers in this loop. have and node are asked at every request.
    Uploads(Loop& loop, Geometry geometry, std::shared_ptr<RateLimit> limit, Upload::NodeLookup node,
            std::function<const Bitmap&()> have, ReadBlock read);
    ~Uploads();

    void set_head(Bytes head_der, std::uint64_t blocks);
    UploadId attach(std::shared_ptr<UploadTaker> taker, Handle handle, WallTime ticket_end);
    void renew(UploadId id, WallTime ticket_end);
    void detach(UploadId id);
    void on_request(UploadId id, const Request& request);
    void on_cancel(UploadId id, BlockIndex block);
    void on_verified(BlockIndex block);
    // The object is withdrawn, or this member serves no more.
    void close_all(Errc why);

    std::size_t takers() const { return takers_.size(); }
    // 3 = the queue runs dry … 0 (DESIGN 9).
    std::uint8_t level() const;
    std::uint64_t bytes_sent() const { return bytes_sent_; }

private:
    struct Taker;
    void pump(UploadId id);
    void send(UploadId id, const Upload::Job& job);
    void flush_haves();
    void send_head(Taker& taker);

    Loop* loop_;
    Geometry geometry_;
    std::shared_ptr<RateLimit> limit_;
    Upload::NodeLookup node_;
    std::function<const Bitmap&()> have_;
    ReadBlock read_;
    Bytes head_der_;
    std::uint64_t head_blocks_ = 0;
    std::map<UploadId, std::unique_ptr<Taker>> takers_;
    UploadId next_ = 1;
    std::vector<std::uint32_t> news_;
    Timer news_timer_;
    Timer rate_timer_;
    std::uint64_t bytes_sent_ = 0;
    double rate_ = 0;
    MonoTime rate_since_{};
    std::uint64_t rate_bytes_ = 0;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

// A taker's place in an object's uploads, for its session: what it asks for goes to the object's loop. Its end gives the place
// up, also when the session was over before it heard of the place.
//
// Thread rules: any thread.
class UploadPlace {
public:
    UploadPlace(Loop& loop, std::weak_ptr<Uploads> uploads, Uploads::UploadId id)
        : loop_(&loop), uploads_(std::move(uploads)), id_(id) {}
    UploadPlace(const UploadPlace&) = delete;
    UploadPlace& operator=(const UploadPlace&) = delete;
    ~UploadPlace();
    void request(const Request& request);
    void cancel(BlockIndex block);
    void renew(WallTime ticket_end);

private:
    template <class F>
    void tell(F f);
    Loop* loop_;
    std::weak_ptr<Uploads> uploads_;
    Uploads::UploadId id_;
};

}  // namespace mssl::proxy
