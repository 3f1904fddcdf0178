// Resolve is the request (DESIGN 3): the application's own request goes to the site's server over pooled TLS, ALPN http/1.1, with
// MSSL-Resolve; the answer is a Resolved, checked here down to the last signature, or the origin's own, passed on as it streams.
//
//     membership ──▶ addresses ──▶ asking ──▶ resolved (on_resolved, nothing after it)
//         └──────────────┴────────────┼──────▶ relayed (on_response_head … on_complete, as of any HttpClient)
//                                     └──────▶ failed (on_error)
//
// Thread rules: one loop.
#pragma once

#include <memory>

#include "proxy/client/resolution.h"
#include "proxy/client/site.h"
#include "proxy/http/client.h"

namespace mssl::proxy {

class ResolverHandler : public HttpClientHandler {
public:
    // Shared: url, object, ticket (ours, in time) and head are checked. Nothing comes after it.
    virtual void on_resolved(Resolution resolution) = 0;
};

// What a Resolved for url says, if all of it holds for this member now. Errors: expired, wrong_realm, wrong_object, wrong_holder, …
Result<Resolution> check_resolved(View body, const Membership& self, const std::string& url, WallTime now);

class Resolver final : public Disposable {
public:
    // head: origin-form, with the original Host and all end-to-end fields (Range and preconditions too). asked: what the application
    // asked, by scheme and Host: the answer must be for it. on_error with bad_certificate: the server is not who it
    // should be (502, whatever the fallback); anything else before on_response_head: the site's fallback may go on.
    static std::unique_ptr<Resolver> start(HttpPool& pool, std::shared_ptr<Site> site, const UrlRoot& asked, RequestHead head,
                                           ResolverHandler& handler);
    ~Resolver() override;

    // As of HttpClient; before the connection is there, content is kept (the caller stops at false).
    bool write_body(View piece);
    void end_body();
    void pause_reading(bool paused);

private:
    Resolver();
    struct Impl;
    std::shared_ptr<Impl> impl_;
};

}  // namespace mssl::proxy
