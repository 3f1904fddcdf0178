// llhttp reads the head alone, from a buffer that scan_head has passed, in one call: bodies are framed by ours
// (chunked.h), since how strictly llhttp reads chunks depends on its version and on how it was compiled.
#include <llhttp.h>

#include <algorithm>

#include "proxy/http/head_grammar.h"
#include "proxy/http/syntax.h"

namespace mssl::proxy {

namespace {

struct Collector {
    RawHead head;
    std::string name, value;
    bool complete = false;
};

Collector& collector(llhttp_t* parser) { return *static_cast<Collector*>(parser->data); }

template <std::string Collector::*Part>
int append_part(llhttp_t* parser, const char* at, std::size_t n) {
    (collector(parser).*Part).append(at, n);
    return 0;
}

template <std::string RawHead::*Part>
int append_head(llhttp_t* parser, const char* at, std::size_t n) {
    (collector(parser).head.*Part).append(at, n);
    return 0;
}

int field_complete(llhttp_t* parser) {
    Collector& c = collector(parser);
    c.head.fields.add(std::move(c.name), std::string(trim(c.value)));
    c.name.clear();
    c.value.clear();
    return 0;
}

int headers_complete(llhttp_t* parser) {
    Collector& c = collector(parser);
    c.complete = true;
    c.head.status = parser->status_code;
    return -1;  // nothing of the body is its business
}

llhttp_settings_t make_settings() {
    llhttp_settings_t s;
    llhttp_settings_init(&s);
    s.on_method = append_head<&RawHead::method>;
    s.on_url = append_head<&RawHead::target>;
    s.on_status = append_head<&RawHead::reason>;
    s.on_header_field = append_part<&Collector::name>;
    s.on_header_value = append_part<&Collector::value>;
    s.on_header_value_complete = field_complete;
    s.on_headers_complete = headers_complete;
    return s;
}

}  // namespace

Result<RawHead> parse_head_grammar(std::string_view head, HeadKind kind) {
    const llhttp_settings_t settings = make_settings();
    Collector c;
    llhttp_t parser;
    llhttp_init(&parser, kind == HeadKind::request ? HTTP_REQUEST : HTTP_RESPONSE, &settings);
    parser.data = &c;
    // Any token is a method (RFC 9110 §9.1), and what it means the origin's affair. llhttp has a list of them, some for RTSP alone: to
    // it all are GET, but for CONNECT, whose target is of another form. That the method is a token scan_head has seen.
    const std::size_t method = kind == HeadKind::request ? std::min(head.find(' '), head.size()) : 0;
    const bool as_get = method != 0 && head.substr(0, method) != "CONNECT";
    if (as_get) llhttp_execute(&parser, "GET", 3);
    const std::string_view left = head.substr(as_get ? method : 0);
    const llhttp_errno_t error = llhttp_execute(&parser, left.data(), left.size());
    if (as_get) c.head.method = head.substr(0, method);
    if (!c.complete) {
        const char* reason = llhttp_get_error_reason(&parser);
        std::string detail = error == HPE_OK ? "head is not complete" : llhttp_errno_name(error);
        if (reason != nullptr && *reason != '\0') detail.append(": ").append(reason);
        return fail(Errc::malformed, std::move(detail));
    }
    return std::move(c.head);
}

}  // namespace mssl::proxy
