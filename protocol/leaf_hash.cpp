#include "protocol/leaf_hash.h"

#include <algorithm>
#include <exception>
#include <initializer_list>
#include <memory>
#include <optional>

#include "protocol/openssl.h"

#ifdef HAVE_IPSEC_MB
#include <intel-ipsec-mb.h>
#endif

namespace mssl {

namespace {

// RFC 9162 §2.1.1: what keeps a leaf from being taken for a node.
constexpr std::uint8_t kLeafPrefix = 0x00;
constexpr std::uint8_t kNodePrefix = 0x01;

// From a library context of its own: whichever providers an application's openssl.cnf activates, or fails to, what
// verifies stays the same; and inside our own provider nothing here leads back into it.
EVP_MD* sha256() {
    static const LibCtxPtr library(OSSL_LIB_CTX_new());
    static const MdPtr md(EVP_MD_fetch(library.get(), "SHA256", nullptr));
    return md.get();
}

Hash digest(std::initializer_list<View> parts) {
    thread_local const MdCtxPtr context(EVP_MD_CTX_new());
    Hash out;
    bool good = context && EVP_DigestInit_ex2(context.get(), sha256(), nullptr) == 1;
    for (const View part : parts)
        good = good && EVP_DigestUpdate(context.get(), part.data(), part.size()) == 1;
    if (!good || EVP_DigestFinal_ex(context.get(), out.bytes.data(), nullptr) != 1) std::terminate();
    return out;
}

View leaf_at(View data, std::size_t i) {
    const std::size_t from = i * kLeafBytes;
    return data.subspan(from, std::min<std::size_t>(kLeafBytes, data.size() - from));
}

#ifdef HAVE_IPSEC_MB

// One manager of libipsec-mb, and room for the leaves in flight: the library takes contiguous messages, and there
// is nowhere to put the prefix in front of a leaf in the middle of a block. The copy costs a sixth of what is won.
class SideBySide {
public:
    // A largest block at a time: more leaves in flight gain nothing with SHA-NI (it interleaves two).
    static constexpr std::size_t kLanes = kMaxBlockBytes / kLeafBytes;

    // Nothing where the machine has no suitable instructions or the library errs.
    static std::optional<SideBySide> make() {
        SideBySide made;
        if (!made.manager_ || !made.choose()) return std::nullopt;
        made.scratch_ = std::make_unique<Slot[]>(kLanes);
        if (!made.agrees_with_evp()) return std::nullopt;
        return made;
    }

    // Fewer leaves than this are faster one by one.
    std::size_t fewest() const { return fewest_; }

    // At most kLanes leaves. False when the library refused: out is undefined then.
    bool hash(View data, std::span<Hash> out) {
        std::size_t completed = 0;
        bool good = true;
        const auto take = [&](const IMB_JOB* job) {
            ++completed;
            good = good && job->status == IMB_STATUS_COMPLETED;
        };
        for (std::size_t i = 0; i < out.size(); ++i) {
            const View leaf = leaf_at(data, i);
            std::uint8_t* message = scratch_[i].message();
            message[0] = kLeafPrefix;
            std::copy(leaf.begin(), leaf.end(), message + 1);
            IMB_JOB* job = IMB_GET_NEXT_JOB(manager_.get());
            *job = {};
            job->cipher_mode = IMB_CIPHER_NULL;
            job->cipher_direction = IMB_DIR_ENCRYPT;
            job->chain_order = IMB_ORDER_HASH_CIPHER;
            job->hash_alg = IMB_AUTH_SHA_256;
            job->src = message;
            job->msg_len_to_hash_in_bytes = leaf.size() + 1;
            job->auth_tag_output = out[i].bytes.data();
            job->auth_tag_output_len_in_bytes = out[i].bytes.size();
            for (job = IMB_SUBMIT_JOB(manager_.get()); job != nullptr;
                 job = IMB_GET_COMPLETED_JOB(manager_.get()))
                take(job);
        }
        while (const IMB_JOB* job = IMB_FLUSH_JOB(manager_.get())) take(job);
        return good && completed == out.size();
    }

private:
    // The message begins one byte before an aligned leaf, so that the copy is an aligned one.
    struct alignas(64) Slot {
        std::array<std::uint8_t, 64 + kLeafBytes> bytes;
        std::uint8_t* message() { return bytes.data() + 63; }
    };

    SideBySide() : manager_(alloc_mb_mgr(0)) {}

    // With SHA-NI two leaves already go at nearly twice the speed of one, and even 16 lanes of AVX-512 are no
    // faster; the wide managers run all their lanes however few are filled, and without SHA-NI two filled lanes
    // do not beat EVP.
    bool choose() {
        if ((manager_->features & IMB_FEATURE_SHANI) != 0) {
            init_mb_mgr_sse(manager_.get());
            fewest_ = 2;
        } else if ((manager_->features & IMB_FEATURE_AVX2) != 0) {
            IMB_ARCH arch = IMB_ARCH_NONE;
            init_mb_mgr_auto(manager_.get(), &arch);
            fewest_ = 4;
        } else {
            return false;
        }
        return imb_get_errno(manager_.get()) == 0;
    }

    bool agrees_with_evp() {
        Bytes data(kLanes * kLeafBytes);
        for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<std::uint8_t>(i * 167 >> 3);
        // Lengths around SHA-256's padding (55, 56, 64 with the prefix), whole leaves, and all lanes with a rest.
        for (const std::size_t length : {std::size_t{1}, std::size_t{54}, std::size_t{55}, std::size_t{63},
                                         std::size_t{2 * kLeafBytes}, data.size() - 1, data.size()}) {
            const View part = View(data).first(length);
            std::array<Hash, kLanes> ours;
            std::array<Hash, kLanes> evp;
            const std::size_t leaves = (length + kLeafBytes - 1) / kLeafBytes;
            hash_leaves_one_by_one(part, std::span(evp).first(leaves));
            if (!hash(part, std::span(ours).first(leaves)) || ours != evp) return false;
        }
        return true;
    }

    std::unique_ptr<IMB_MGR, Freer<free_mb_mgr>> manager_;
    std::unique_ptr<Slot[]> scratch_;
    std::size_t fewest_ = 0;
};

std::optional<SideBySide>& side_by_side() {
    thread_local std::optional<SideBySide> instance = SideBySide::make();
    return instance;
}

#endif

}  // namespace

Hash hash_leaf(View leaf) { return digest({View(&kLeafPrefix, 1), leaf}); }

Hash hash_node(const Hash& left, const Hash& right) {
    std::array<std::uint8_t, 1 + 2 * Hash::size> message;
    message[0] = kNodePrefix;
    std::copy(left.bytes.begin(), left.bytes.end(), message.begin() + 1);
    std::copy(right.bytes.begin(), right.bytes.end(), message.begin() + 1 + Hash::size);
    return digest({message});
}

Hash empty_root() { return digest({}); }

void hash_leaves_one_by_one(View data, std::span<Hash> out) {
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = hash_leaf(leaf_at(data, i));
}

void hash_leaves(View data, std::span<Hash> out) {
    if (out.size() != (data.size() + kLeafBytes - 1) / kLeafBytes) std::terminate();
#ifdef HAVE_IPSEC_MB
    if (std::optional<SideBySide>& lanes = side_by_side()) {
        while (out.size() >= lanes->fewest()) {
            const std::size_t leaves = std::min(out.size(), SideBySide::kLanes);
            const std::size_t bytes = std::min(data.size(), leaves * kLeafBytes);
            if (!lanes->hash(data.first(bytes), out.first(leaves))) {
                lanes.reset();
                break;
            }
            data = data.subspan(bytes);
            out = out.subspan(leaves);
        }
    }
#endif
    hash_leaves_one_by_one(data, out);
}

bool hashes_side_by_side() {
#ifdef HAVE_IPSEC_MB
    return side_by_side().has_value();
#else
    return false;
#endif
}

}  // namespace mssl
