// Which requests are known to lead to which object where the origin may answer by Accept-Encoding. An origin that compresses for who accepts
// it says 304 to If-None-Match with the tag of what is not compressed, and many never say Vary: so our own validator is put into a
// request only where the same Accept-Encoding has once brought a 200 with that object.
//
// Thread rules: any thread.
#pragma once

#include <list>
#include <mutex>
#include <string>
#include <unordered_map>

#include "protocol/types.h"
#include "proxy/http/message.h"

namespace mssl::proxy {

class Encodings {
public:
    // As many pairs as a busy server has objects in use, times a few browsers. What is forgotten costs a question without our validator.
    static constexpr std::size_t kMaxPairs = 16384;
    // Anybody can think of another value.
    static constexpr std::size_t kMaxValueBytes = 256;

    // A 200 to this request had the object's validator and no content coding.
    void learn(const ObjectId& object, const Fields& request) {
        const std::string value = accepted(request);
        if (value.empty() || value.size() > kMaxValueBytes) return;
        const std::lock_guard lock(mutex_);
        std::string key = object.hex() + value;
        if (known_.contains(key)) return;
        order_.push_back(key);
        known_.emplace(std::move(key), std::prev(order_.end()));
        if (order_.size() <= kMaxPairs) return;
        known_.erase(order_.front());
        order_.pop_front();
    }

    // Whether this request is known to lead to the object, if the origin has not changed it. Who accepts no coding always does.
    bool leads(const ObjectId& object, const Fields& request) {
        const std::string value = accepted(request);
        if (value.empty()) return true;
        const std::lock_guard lock(mutex_);
        return known_.contains(object.hex() + value);
    }

private:
    static std::string accepted(const Fields& request) {
        std::string out;
        for (const std::string& coding : request.list("Accept-Encoding")) out.append(out.empty() ? "" : ",").append(coding);
        return iequals(out, "identity") ? std::string{} : out;
    }

    std::mutex mutex_;
    std::list<std::string> order_;  // oldest first
    std::unordered_map<std::string, std::list<std::string>::iterator> known_;
};

}  // namespace mssl::proxy
