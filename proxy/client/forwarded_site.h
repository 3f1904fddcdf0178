// The site that a port of mode "forward" stands for: an application asks http://127.0.0.1:8001/, and means https://a.example/.
// Whatever names the one becomes the other, in the fields that programs act upon by themselves; content is never touched.
//
// Thread rules: a value; pure.
#pragma once

#include <string>
#include <variant>

#include "proxy/client/intercept.h"
#include "proxy/core/net.h"
#include "proxy/http/message.h"

namespace mssl::proxy {

class ForwardedSite {
public:
    // local: the address of this host that the application connected to. Refused (421) is a Host that is neither an address that leads
    // here nor a name of this host alone: a web page must not reach the port by a name of its own that it points here (DNS
    // rebinding), or it could read the site with this host's access.
    static std::variant<ForwardedSite, Refusal> of(const RequestHead& request, const UrlRoot& site, const Address& local);

    const UrlRoot& site() const { return site_; }
    // What the site is asked for: origin-form, or absolute-form that names this port (RFC 9112 §3.2.2).
    std::variant<Wish, Refusal> judge(RequestHead& request) const;
    // Origin and Referer where they name this port: a site that compares them with its Host would refuse its own pages.
    void to_site(Fields& fields) const;
    // Location and Content-Location that name the site, absolute (RFC 9110 §10.2.2, §8.7) or by its authority alone, name this port as
    // the application did. Set-Cookie loses Domain and Secure (RFC 6265 §4.1.2): the application would not keep the cookie
    // of another host, nor that of a protected connection.
    void to_application(Fields& fields) const;

private:
    ForwardedSite(UrlRoot site, std::string used) : site_(std::move(site)), used_(std::move(used)) {}
    UrlRoot site_;
    std::string used_;  // Host, as the application wrote it
};

}  // namespace mssl::proxy
