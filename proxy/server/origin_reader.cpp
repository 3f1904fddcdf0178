#include "proxy/server/origin_reader.h"

#include <algorithm>
#include <cstring>
#include <mutex>

#include "proxy/http/semantics.h"

namespace mssl::proxy {
namespace {

class Job final : public Disposable, private HttpClientHandler {
public:
    Job(Loop& loop, BufferPool& buffers, std::shared_ptr<const SignedManifest> manifest, BlockIndex first, std::uint32_t count,
        std::function<void(Result<std::vector<BlockData>>)> done)
        : loop_(&loop), buffers_(&buffers), manifest_(std::move(manifest)), first_(first), count_(count), done_(std::move(done)) {}

    void begin(const std::shared_ptr<const Origins>& origins, const std::vector<HeaderField>& fields) {
        const Manifest& m = manifest_->body;
        const Geometry g = m.geometry();
        if (count_ == 0 || count_ > RangeReader::kMaxRun || std::uint64_t{first_.v} + count_ > g.block_count())
            return end(fail(Errc::no_such_block, "blocks beyond the object"));
        std::string target;
        origin_ = origins ? origins->find_url(m.url, target) : nullptr;
        if (!origin_) return end(fail(Errc::unreachable, "no origin is configured for this object any more"));
        for (std::uint32_t i = 0; i < count_; ++i) {
            const std::uint32_t length = g.block_length(BlockIndex{first_.v + i});
            std::shared_ptr<std::uint8_t[]> buffer = buffers_->get(length);
            if (!buffer) return end(fail(Errc::busy, "no block buffers"));
            blocks_.push_back(std::move(buffer));
        }
        first_byte_ = g.block_offset(first_);
        const BlockIndex last{first_.v + count_ - 1};
        last_byte_ = g.block_offset(last) + g.block_length(last) - 1;
        RequestHead request = range_request(m, target, first_byte_, last_byte_);
        for (const HeaderField& f : fields) request.fields.add(f.name, f.value);
        exchange_ = origin_->start(*loop_, std::move(request), *this);
    }

private:
    void on_response_head(ResponseHead head) override {
        if (head.status < 200) return;
        Status s = check_range_answer(manifest_->body, head, first_byte_, last_byte_);
        if (!s) end(std::move(s).error());
    }
    MutableView body_room() override {
        const std::uint64_t at = first_byte_ + got_;
        if (!exchange_ || at > last_byte_) return {};
        return place_of(at);
    }
    void on_body(View piece) override {
        add(loop_->counters().bytes_from_origin, piece.size());
        while (!piece.empty()) {
            const std::uint64_t at = first_byte_ + got_;
            if (at > last_byte_) return end(fail(Errc::withdrawn, "more bytes than the range"));
            const MutableView place = place_of(at);
            const std::size_t n = std::min(piece.size(), place.size());
            if (piece.data() != place.data()) std::memcpy(place.data(), piece.data(), n);
            got_ += n;
            piece = piece.subspan(n);
        }
    }
    void on_complete() override {
        if (first_byte_ + got_ != last_byte_ + 1) return end(fail(Errc::truncated, "fewer bytes than the range"));
        std::vector<BlockData> out(blocks_.begin(), blocks_.end());
        end(std::move(out));
    }
    void on_error(const Error& error) override { end(error); }

    // In its block, from this byte of the object on.
    MutableView place_of(std::uint64_t at) const {
        const Geometry g = manifest_->body.geometry();
        const BlockIndex block = g.block_at(at);
        const auto offset = static_cast<std::size_t>(at - g.block_offset(block));
        return {blocks_[block.v - first_.v].get() + offset, g.block_length(block) - offset};
    }
    void end(Result<std::vector<BlockData>> result) {
        exchange_.reset();
        // The end of the job, and of this: release() waits for the current callback.
        loop_->post([done = std::move(done_), result = std::move(result)]() mutable { done(std::move(result)); });
        loop_->release(this);
    }

    Loop* loop_;
    BufferPool* buffers_;
    std::shared_ptr<const SignedManifest> manifest_;
    BlockIndex first_;
    std::uint32_t count_;
    std::function<void(Result<std::vector<BlockData>>)> done_;
    std::shared_ptr<const Origin> origin_;
    std::unique_ptr<OriginExchange> exchange_;
    std::vector<std::shared_ptr<std::uint8_t[]>> blocks_;
    std::uint64_t first_byte_ = 0, last_byte_ = 0, got_ = 0;
};

class OriginReader final : public RangeReader {
public:
    OriginReader(std::function<std::shared_ptr<const Origins>()> origins, BufferPool& buffers,
                 std::shared_ptr<const SignedManifest> manifest)
        : origins_(std::move(origins)), buffers_(&buffers), manifest_(std::move(manifest)) {}

    void authorize(std::vector<HeaderField> fields) override {
        const std::lock_guard lock(mutex_);
        fields_ = std::move(fields);
    }

    void read(BlockIndex first, std::uint32_t count, Loop& loop,
              std::function<void(Result<std::vector<BlockData>>)> done) override {
        std::vector<HeaderField> fields;
        {
            const std::lock_guard lock(mutex_);
            fields = fields_;
        }
        loop.post([&loop, first, count, origins = origins_(), buffers = buffers_, manifest = manifest_, fields = std::move(fields),
                   done = std::move(done)] {
            auto job = std::make_unique<Job>(loop, *buffers, manifest, first, count, done);
            Job* raw = job.get();
            loop.adopt(std::move(job));
            raw->begin(origins, fields);
        });
    }

private:
    std::function<std::shared_ptr<const Origins>()> origins_;
    BufferPool* buffers_;
    std::shared_ptr<const SignedManifest> manifest_;
    std::mutex mutex_;
    std::vector<HeaderField> fields_;  // of authorize()
};

}  // namespace

std::shared_ptr<RangeReader> make_origin_reader(std::function<std::shared_ptr<const Origins>()> origins, BufferPool& buffers,
                                                std::shared_ptr<const SignedManifest> manifest) {
    return std::make_shared<OriginReader>(std::move(origins), buffers, std::move(manifest));
}

RequestHead range_request(const Manifest& manifest, std::string_view target, std::uint64_t first, std::uint64_t last) {
    RequestHead head;
    head.method = "GET";
    head.target = std::string(target);
    if (const Result<AbsoluteTarget> url = parse_absolute(manifest.url)) {
        head.fields.add("Host", url->root().host_field());
        // An origin that leads from http to https would give nothing else to who seems to ask by http.
        head.fields.add("X-Forwarded-Proto", url->scheme);
    }
    head.fields.add("Range", "bytes=" + std::to_string(first) + "-" + std::to_string(last));
    head.fields.add("If-Range",
                    manifest.validator.etag.empty() ? format_http_date(manifest.validator.last_modified) : manifest.validator.etag);
    return head;
}

Status check_range_answer(const Manifest& manifest, const ResponseHead& answer, std::uint64_t first, std::uint64_t last) {
    switch (answer.status) {
    case 206: break;
    case 200: return fail(Errc::withdrawn, "the origin has another representation");
    case 404:
    case 410: return fail(Errc::withdrawn, "the origin has it no longer");
    case 416: return fail(Errc::withdrawn, "the origin's representation is shorter");
    // Nothing that another try changes: whoever waits must ask anew, as itself.
    case 401:
    case 403:
    case 451: return fail(Errc::withdrawn, "the origin does not give it to this server: " + std::to_string(answer.status));
    default: return fail(Errc::io, "the origin answers " + std::to_string(answer.status));
    }
    const Fields& f = answer.fields;
    if (f.count("Content-Range") != 1) return fail(Errc::withdrawn, "206 without one Content-Range");
    const Result<ContentRange> range = parse_content_range(*f.find("Content-Range"));
    if (!range || range->first != first || range->last != last || range->length != manifest.length)
        return fail(Errc::withdrawn, "another range or length than asked for");
    if (answer.body == BodyKind::length && answer.length != last - first + 1)
        return fail(Errc::withdrawn, "another length than the range's");
    if (f.count("Content-Encoding") != 0) return fail(Errc::withdrawn, "encoded");
    // RFC 9110 §15.3.7: a 206 repeats the validator that a 200 would have. One that is absent says nothing, the tree still does.
    const std::string* etag = f.find("ETag");
    if (!manifest.validator.etag.empty() && etag != nullptr && *etag != manifest.validator.etag)
        return fail(Errc::withdrawn, "another entity tag");
    return {};
}

}  // namespace mssl::proxy
