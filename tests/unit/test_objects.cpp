// Manifest, head and ticket: only what the signer wrote passes, in the one encoding that DER has.
#include <criterion/criterion.h>

#include <algorithm>
#include <functional>
#include <string>

#include "protocol/asn1.h"
#include "protocol/objects.h"
#include "protocol/oid.h"

using namespace mssl;

namespace {

constexpr WallTime kNow{1800000000};

const KeyPair& signer() {
    static const KeyPair key = std::move(KeyPair::generate()).value();
    return key;
}

template <class F>
F filled(std::uint8_t seed) {
    F out;
    for (std::size_t i = 0; i < F::size; ++i) out.bytes[i] = static_cast<std::uint8_t>(seed + i);
    return out;
}

Head a_head(std::uint64_t length, std::uint64_t leaves) {
    Head h;
    h.object = filled<ObjectId>(1);
    h.length = length;
    h.block_bytes = Geometry::for_length(length).block_bytes();
    h.leaves = leaves;
    h.final_head = leaves == h.geometry().leaf_count();
    for (std::size_t i = 0; i < peak_positions(h.blocks()).size(); ++i)
        h.peaks.push_back(filled<Hash>(static_cast<std::uint8_t>(i)));
    return h;
}

Manifest a_manifest() {
    Manifest m;
    m.object = filled<ObjectId>(2);
    m.url = "http://files.example.org:80/pool/a%20b.iso?x=1&y";
    m.validator = {"\"v1-\xc3\xa4\"", 1700000000};
    m.fields = {{"Content-Type", "application/octet-stream"}, {"X-Empty", ""}, {"X-Old", "caf\xe9"}};
    m.length = 70 << 20;
    m.block_bytes = Geometry::for_length(m.length).block_bytes();
    m.access = Access::restricted;
    m.exchange = Exchange::proof_of_service;
    m.price = UINT64_MAX;
    m.not_before = kNow;
    m.not_after = {kNow.unix_seconds + 86400};
    return m;
}

Ticket a_ticket() {
    Ticket t;
    t.grant = filled<GrantId>(3);
    t.member = filled<MemberId>(4);
    t.object = filled<ObjectId>(5);
    t.exchange = Exchange::plain;
    t.price = 128;
    t.not_before = kNow;
    t.not_after = {kNow.unix_seconds + 600};
    return t;
}

Bytes flipped(Bytes der, std::size_t bit) {
    der[bit / 8] ^= static_cast<std::uint8_t>(1U << (bit % 8));
    return der;
}

// The body of this DER signed anew, so that only the encoding can be what is wrong with it.
Bytes sign_again(const oid::Oid& type, std::string_view domain, const Bytes& body) {
    const MemberId id = member_id_of(signer().public_key());
    Bytes message(domain.begin(), domain.end());
    message.push_back(0);
    message.insert(message.end(), id.bytes.begin(), id.bytes.end());
    message.insert(message.end(), body.begin(), body.end());
    const Signature s = signer().sign(message).value();
    DerWriter w;
    w.sequence([&] {
        w.oid(type);
        w.raw(body);
        w.octets(id.view());
        w.octets(s.view());
    });
    return w.take();
}

Errc parse_ticket_body(const std::function<void(DerWriter&)>& fields) {
    DerWriter w;
    w.sequence([&] { fields(w); });
    const Bytes der = sign_again(oid::kTicket, "mssl/1 ticket", w.take());
    return parse_ticket(der, signer().public_key()).code();
}

void ticket_fields(DerWriter& w, const Bytes& exchange, const Bytes& price, const Bytes& from) {
    const Ticket t = a_ticket();
    w.octets(t.grant.view());
    w.octets(t.member.view());
    w.octets(t.object.view());
    w.raw(exchange);
    w.raw(price);
    w.raw(from);
    w.time(t.not_after.unix_seconds);
}

const Bytes kPlain{0x0a, 1, 0}, kPrice{2, 2, 0, 0x80};
Bytes time_of(std::string_view text) {
    Bytes out(2 + text.size());
    out[0] = 0x18;
    out[1] = static_cast<std::uint8_t>(text.size());
    std::copy(text.begin(), text.end(), out.begin() + 2);
    return out;
}
const Bytes kFrom = time_of("20270115080000Z");

Bytes text_der(std::string_view s) { return {s.begin(), s.end()}; }

}  // namespace

Test(objects, each_object_survives_signing_and_parsing) {
    const PublicKey key = signer().public_key();
    for (const std::uint64_t length : {1ULL, 65536ULL, 65537ULL, 10ULL << 20, 1ULL << 40, 1ULL << 48}) {
        const Head h = a_head(length, Geometry::for_length(length).leaf_count());
        const SignedHead s = sign_head(h, signer()).value();
        const SignedHead back = parse_head(s.der, key).value();
        cr_assert(back.body == h && back.der == s.der && back.signer == s.signer);
    }
    const Manifest m = a_manifest();
    cr_assert(parse_manifest(sign_manifest(m, signer()).value().der, key).value().body == m);
    const Ticket t = a_ticket();
    cr_assert(parse_ticket(sign_ticket(t, signer()).value().der, key).value().body == t);
}

Test(objects, any_flipped_bit_of_a_head_is_refused) {
    const Bytes der = sign_head(a_head(10 << 20, 64), signer()).value().der;
    for (std::size_t bit = 0; bit < der.size() * 8; ++bit)
        cr_assert_not(parse_head(flipped(der, bit), signer().public_key()).has_value(), "bit %zu", bit);
}

Test(objects, any_flipped_bit_of_a_ticket_is_refused) {
    const Bytes der = sign_ticket(a_ticket(), signer()).value().der;
    for (std::size_t bit = 0; bit < der.size() * 8; ++bit)
        cr_assert_not(parse_ticket(flipped(der, bit), signer().public_key()).has_value(), "bit %zu", bit);
}

Test(objects, a_flipped_bit_of_a_manifest_is_refused) {
    const Bytes der = sign_manifest(a_manifest(), signer()).value().der;
    for (std::size_t byte = 0; byte < der.size(); ++byte)
        cr_assert_not(parse_manifest(flipped(der, byte * 8 + byte % 8), signer().public_key()).has_value(),
                      "byte %zu", byte);
}

Test(objects, a_truncated_or_lengthened_object_is_refused) {
    const Bytes der = sign_head(a_head(10 << 20, 64), signer()).value().der;
    for (std::size_t n = 0; n < der.size(); ++n)
        cr_assert(inspect_head(View(der).first(n)).code() == Errc::malformed, "%zu bytes", n);
    Bytes more = der;
    more.push_back(0);
    cr_assert(inspect_head(more).code() == Errc::malformed);
    cr_assert(inspect_head(Bytes(kMaxObjectDer + 1)).code() == Errc::too_large);
}

Test(objects, an_object_of_one_type_passes_for_no_other) {
    const PublicKey key = signer().public_key();
    const Bytes head = sign_head(a_head(10 << 20, 64), signer()).value().der;
    cr_assert(parse_ticket(head, key).code() == Errc::unsupported);
    cr_assert(parse_manifest(head, key).code() == Errc::unsupported);
    // The same body under the domain tag of another type.
    DerWriter w;
    w.sequence([&] { ticket_fields(w, kPlain, kPrice, kFrom); });
    const Bytes body = w.take();
    cr_assert(parse_ticket(sign_again(oid::kTicket, "mssl/1 ticket", body), key).has_value());
    cr_assert(parse_ticket(sign_again(oid::kTicket, "mssl/1 head", body), key).code() == Errc::bad_signature);
}

Test(objects, another_signer_is_named_as_such_and_a_stolen_name_does_not_help) {
    const KeyPair other = std::move(KeyPair::generate()).value();
    const SignedTicket theirs = sign_ticket(a_ticket(), other).value();
    cr_assert(parse_ticket(theirs.der, signer().public_key()).code() == Errc::wrong_realm);
    cr_assert(inspect_ticket(theirs.der).has_value(), "looking at it is not trusting it");

    Bytes renamed = theirs.der;
    const MemberId ours = member_id_of(signer().public_key());
    std::copy(ours.bytes.begin(), ours.bytes.end(), renamed.end() - 2 - 64 - 32);
    cr_assert(parse_ticket(renamed, signer().public_key()).code() == Errc::bad_signature);
}

Test(objects, encodings_that_ber_allows_and_der_does_not_are_refused_though_signed) {
    struct {
        const char* what;
        Bytes exchange, price, from;
        Errc expected;
    } const rows[] = {
        {"as DER has it", kPlain, kPrice, kFrom, Errc::ok},
        {"long length", kPlain, {2, 0x81, 2, 0, 0x80}, kFrom, Errc::malformed},
        {"long length with zeros", kPlain, {2, 0x82, 0, 2, 0, 0x80}, kFrom, Errc::malformed},
        {"indefinite length", kPlain, {2, 0x80, 1, 0, 0}, kFrom, Errc::malformed},
        {"length of length", kPlain, {2, 0xff}, kFrom, Errc::malformed},
        {"length beyond the end", kPlain, {2, 0x7f, 1}, kFrom, Errc::malformed},
        {"number with a zero before it", kPlain, {2, 2, 0, 0x7f}, kFrom, Errc::malformed},
        {"empty number", kPlain, {2, 0}, kFrom, Errc::malformed},
        {"negative number", kPlain, {2, 1, 0x80}, kFrom, Errc::malformed},
        {"number of 65 bits", kPlain, {2, 9, 1, 0, 0, 0, 0, 0, 0, 0, 0}, kFrom, Errc::too_large},
        {"number of 64 bits", kPlain, {2, 9, 0, 0xff, 0, 0, 0, 0, 0, 0, 0}, kFrom, Errc::ok},
        {"integer for an enumerated", {2, 1, 0}, kPrice, kFrom, Errc::malformed},
        {"unknown exchange", {0x0a, 1, 3}, kPrice, kFrom, Errc::unsupported},
        {"constructed number", kPlain, {0x22, 3, 2, 1, 1}, kFrom, Errc::malformed},
        {"time with fraction", kPlain, kPrice, time_of("20270115080000.5Z"), Errc::malformed},
        {"time with offset", kPlain, kPrice, time_of("20270115080000+0000"), Errc::malformed},
        {"time without seconds", kPlain, kPrice, time_of("202701150800Z"), Errc::malformed},
        {"time without Z", kPlain, kPrice, time_of("202701150800001"), Errc::malformed},
        {"30 February", kPlain, kPrice, time_of("20260230080000Z"), Errc::malformed},
        {"leap second", kPlain, kPrice, time_of("20270115235960Z"), Errc::malformed},
        {"hour 24", kPlain, kPrice, time_of("20270115240000Z"), Errc::malformed},
        {"before 1970", kPlain, kPrice, time_of("19691231235959Z"), Errc::malformed},
        {"no digits", kPlain, kPrice, time_of("2027011508000 Z"), Errc::malformed},
        {"one element more", kPlain, kPrice, {5, 0, 0x18}, Errc::malformed},
    };
    for (const auto& r : rows) {
        const Errc got =
            parse_ticket_body([&](DerWriter& w) { ticket_fields(w, r.exchange, r.price, r.from); });
        cr_assert(got == r.expected, "%s: %s", r.what, errc_name(got).data());
    }
    cr_assert(parse_ticket_body([](DerWriter& w) {
                  ticket_fields(w, kPlain, kPrice, kFrom);
                  w.integer(0);
              }) == Errc::malformed,
              "an element behind the last");
}

Test(objects, a_boolean_is_00_or_ff) {
    const auto with = [](std::uint8_t value) {
        DerWriter w;
        w.sequence([&] {
            w.octets(filled<ObjectId>(1).view());
            w.integer(1);
            w.integer(kMinBlockBytes);
            w.integer(1);
            w.raw(Bytes{1, 1, value});
            w.sequence([&] { w.octets(filled<Hash>(9).view()); });
        });
        return parse_head(sign_again(oid::kHead, "mssl/1 head", w.take()), signer().public_key()).code();
    };
    cr_assert(with(0xff) == Errc::ok);
    cr_assert(with(0x01) == Errc::malformed);
    cr_assert(with(0x00) == Errc::malformed, "one of one leaf is final");
}

Test(objects, a_head_is_consistent_in_itself) {
    constexpr std::uint64_t length = 10 << 20;  // 320 leaves in 160 blocks
    struct {
        const char* what;
        std::function<void(Head&)> change;
        Errc expected;
    } const rows[] = {
        {"unchanged", [](Head&) {}, Errc::ok},
        {"no leaves", [](Head& h) { h.leaves = 0, h.peaks.clear(); }, Errc::malformed},
        {"half a block", [](Head& h) { h.leaves = 65; }, Errc::malformed},
        {"all leaves and not final", [](Head& h) { h.leaves = 320; }, Errc::malformed},
        {"more leaves than there are", [](Head& h) { h.leaves = 322; }, Errc::malformed},
        {"final too early", [](Head& h) { h.final_head = true; }, Errc::malformed},
        {"a peak more", [](Head& h) { h.peaks.push_back({}); }, Errc::malformed},
        {"a peak less", [](Head& h) { h.peaks.pop_back(); }, Errc::malformed},
        {"blocks of another length", [](Head& h) { h.block_bytes = 2 * kMinBlockBytes; }, Errc::malformed},
        {"blocks of no size", [](Head& h) { h.block_bytes = 0; }, Errc::malformed},
        {"blocks of an odd size", [](Head& h) { h.block_bytes = kMinBlockBytes + 1; }, Errc::malformed},
        {"beyond the longest", [](Head& h) { h.length = kMaxObjectBytes + 1; }, Errc::too_large},
    };
    for (const auto& r : rows) {
        Head h = a_head(length, 64);
        r.change(h);
        cr_assert(h.check().code() == r.expected, "%s", r.what);
        cr_assert(sign_head(h, signer()).code() == r.expected, "%s: signed", r.what);
    }
    cr_assert(a_head(0, 0).check().has_value() && a_head(0, 0).final_head && a_head(0, 0).peaks.empty());
    cr_assert_eq(a_head(length, 320).blocks(), 160u);
    cr_assert_eq(a_head(65537, 3).blocks(), 2u);
    cr_assert_eq(a_head(65536, 2).blocks(), 1u);
    cr_assert_eq(a_head(length, 64).blocks(), 32u);
}

Test(objects, a_manifest_keeps_to_syntax_and_limits) {
    struct {
        const char* what;
        std::function<void(Manifest&)> change;
        Errc expected;
    } const rows[] = {
        {"unchanged", [](Manifest&) {}, Errc::ok},
        {"https and IPv6", [](Manifest& m) { m.url = "https://[2001:db8::1]:8443/"; }, Errc::ok},
        {"another scheme", [](Manifest& m) { m.url = "ftp://a:21/"; }, Errc::malformed},
        {"scheme in capitals", [](Manifest& m) { m.url = "HTTP://a:80/"; }, Errc::malformed},
        {"host in capitals", [](Manifest& m) { m.url = "http://A:80/"; }, Errc::malformed},
        {"no host", [](Manifest& m) { m.url = "http://:80/"; }, Errc::malformed},
        {"a user", [](Manifest& m) { m.url = "http://u@a:80/"; }, Errc::malformed},
        {"no port", [](Manifest& m) { m.url = "http://a/"; }, Errc::malformed},
        {"empty port", [](Manifest& m) { m.url = "http://a:/"; }, Errc::malformed},
        {"port 0", [](Manifest& m) { m.url = "http://a:0/"; }, Errc::malformed},
        {"port 080", [](Manifest& m) { m.url = "http://a:080/"; }, Errc::malformed},
        {"port 65536", [](Manifest& m) { m.url = "http://a:65536/"; }, Errc::malformed},
        {"port 65535", [](Manifest& m) { m.url = "http://a:65535/"; }, Errc::ok},
        {"no path", [](Manifest& m) { m.url = "http://a:80"; }, Errc::malformed},
        {"query without path", [](Manifest& m) { m.url = "http://a:80?x"; }, Errc::malformed},
        {"space", [](Manifest& m) { m.url = "http://a:80/ "; }, Errc::malformed},
        {"line end", [](Manifest& m) { m.url = "http://a:80/\r\nX: y"; }, Errc::malformed},
        {"not ASCII", [](Manifest& m) { m.url = "http://a:80/\xc3\xa4"; }, Errc::malformed},
        {"fragment", [](Manifest& m) { m.url = "http://a:80/#f"; }, Errc::malformed},
        {"longest URL", [](Manifest& m) { m.url = "http://a:80/" + std::string(8192 - 12, 'x'); }, Errc::ok},
        {"too long URL", [](Manifest& m) { m.url = "http://a:80/" + std::string(8192 - 11, 'x'); },
         Errc::too_large},
        {"weak ETag", [](Manifest& m) { m.validator.etag = "W/\"x\""; }, Errc::malformed},
        {"ETag without quotes", [](Manifest& m) { m.validator.etag = "x"; }, Errc::malformed},
        {"one quote", [](Manifest& m) { m.validator.etag = "\""; }, Errc::malformed},
        {"quote inside", [](Manifest& m) { m.validator.etag = "\"a\"b\""; }, Errc::malformed},
        {"ETag with line end", [](Manifest& m) { m.validator.etag = "\"a\n\""; }, Errc::malformed},
        {"ETag too long", [](Manifest& m) { m.validator.etag = '"' + std::string(1023, 'e') + '"'; },
         Errc::too_large},
        {"ETag alone", [](Manifest& m) { m.validator.last_modified = 0; }, Errc::ok},
        {"Last-Modified alone", [](Manifest& m) { m.validator.etag.clear(); }, Errc::ok},
        {"no validator", [](Manifest& m) { m.validator = {}; }, Errc::malformed},
        {"Last-Modified before 1970", [](Manifest& m) { m.validator.last_modified = -1; }, Errc::malformed},
        {"field name empty", [](Manifest& m) { m.fields[0].name = ""; }, Errc::malformed},
        {"field name with colon", [](Manifest& m) { m.fields[0].name = "A:"; }, Errc::malformed},
        {"field name with space", [](Manifest& m) { m.fields[0].name = "A "; }, Errc::malformed},
        {"field name too long", [](Manifest& m) { m.fields[0].name = std::string(256, 'a'); },
         Errc::too_large},
        {"CR in a value", [](Manifest& m) { m.fields[0].value = "a\rb"; }, Errc::malformed},
        {"LF in a value", [](Manifest& m) { m.fields[0].value = "a\nb"; }, Errc::malformed},
        {"NUL in a value", [](Manifest& m) { m.fields[0].value = std::string("a\0b", 3); }, Errc::malformed},
        {"64 fields",
         [](Manifest& m) {
             m.fields.assign(64, {"a", "b"});
         },
         Errc::ok},
        {"65 fields",
         [](Manifest& m) {
             m.fields.assign(65, {"a", "b"});
         },
         Errc::too_large},
        {"all that fields may have",
         [](Manifest& m) {
             m.fields = {{"a", std::string(16383, 'v')}};
         },
         Errc::ok},
        {"fields too long",
         [](Manifest& m) {
             m.fields = {{"a", std::string(16384, 'v')}};
         },
         Errc::too_large},
        {"too long", [](Manifest& m) { m.length = kMaxObjectBytes + 1; }, Errc::too_large},
        {"small blocks", [](Manifest& m) { m.block_bytes = kMinBlockBytes; }, Errc::malformed},
        {"unknown hash", [](Manifest& m) { m.hash = HashKind{2}; }, Errc::unsupported},
        {"unknown access", [](Manifest& m) { m.access = Access{2}; }, Errc::unsupported},
        {"unknown exchange", [](Manifest& m) { m.exchange = Exchange{3}; }, Errc::unsupported},
        {"validity of no time", [](Manifest& m) { m.not_after = m.not_before; }, Errc::malformed},
        {"before 1970", [](Manifest& m) { m.not_before.unix_seconds = -1; }, Errc::malformed},
        {"year 10000", [](Manifest& m) { m.not_after.unix_seconds = kMaxDerTime + 1; }, Errc::malformed},
        {"year 9999", [](Manifest& m) { m.not_after.unix_seconds = kMaxDerTime; }, Errc::ok},
    };
    for (const auto& r : rows) {
        Manifest m = a_manifest();
        r.change(m);
        cr_assert(m.check().code() == r.expected, "%s: %s", r.what, errc_name(m.check().code()).data());
        const Result<SignedManifest> s = sign_manifest(m, signer());
        cr_assert(s.code() == r.expected, "%s: signed", r.what);
        if (s) cr_assert(parse_manifest(s->der, signer().public_key()).value().body == m, "%s: back", r.what);
    }
}

Test(objects, a_manifest_of_others_keeps_to_the_number_of_fields) {
    for (const int n : {64, 65, 66, 300}) {
        const Manifest m = a_manifest();
        DerWriter w;
        w.sequence([&] {
            w.octets(m.object.view());
            w.ia5(m.url);
            w.sequence([&] {
                w.octets(m.validator.etag);
                w.integer(0);
            });
            w.sequence([&] {
                for (int i = 0; i < n; ++i) {
                    w.sequence([&] {
                        w.ia5("a");
                        w.octets(std::string_view("b"));
                    });
                }
            });
            w.integer(m.length);
            w.integer(m.block_bytes);
            w.enumerated(1);
            w.enumerated(0);
            w.enumerated(0);
            w.integer(0);
            w.time(m.not_before.unix_seconds);
            w.time(m.not_after.unix_seconds);
        });
        const Bytes der = sign_again(oid::kManifest, "mssl/1 manifest", w.take());
        cr_assert(parse_manifest(der, signer().public_key()).code() == (n == 64 ? Errc::ok : Errc::too_large),
                  "%d", n);
    }
}

Test(objects, a_ticket_is_good_for_one_member_one_object_and_its_time) {
    const Ticket t = a_ticket();
    const std::int64_t from = t.not_before.unix_seconds, to = t.not_after.unix_seconds;
    cr_assert(check_ticket(t, t.member, t.object, kNow).has_value());
    cr_assert(check_ticket(t, filled<MemberId>(9), t.object, kNow).code() == Errc::wrong_holder);
    cr_assert(check_ticket(t, t.member, filled<ObjectId>(9), kNow).code() == Errc::wrong_object);
    cr_assert(check_ticket(t, t.member, t.object, {from - 120}).has_value());
    cr_assert(check_ticket(t, t.member, t.object, {from - 121}).code() == Errc::expired);
    cr_assert(check_ticket(t, t.member, t.object, {to + 120}).has_value());
    cr_assert(check_ticket(t, t.member, t.object, {to + 121}).code() == Errc::expired);
    Ticket backwards = t;
    std::swap(backwards.not_before, backwards.not_after);
    cr_assert(sign_ticket(backwards, signer()).code() == Errc::malformed);
}

Test(objects, object_identifiers_are_those_of_the_module) {
    for (int n = 1; n <= 3; ++n) {
        const std::string text = "2.25.317020062513171469457822931202711868862.1." + std::to_string(n);
        ASN1_OBJECT* o = OBJ_txt2obj(text.c_str(), 1);
        cr_assert_eq(OBJ_length(o), oid::kHead.size());
        cr_assert(std::memcmp(OBJ_get0_data(o), oid::object(static_cast<std::uint8_t>(n)).data(),
                              OBJ_length(o)) == 0);
        ASN1_OBJECT_free(o);
    }
}

Test(objects, openssl_reads_every_object) {
    for (const Bytes& der :
         {sign_head(a_head(10 << 20, 64), signer()).value().der,
          sign_manifest(a_manifest(), signer()).value().der, sign_ticket(a_ticket(), signer()).value().der}) {
        const BioPtr bio(BIO_new(BIO_s_mem()));
        cr_assert_eq(ASN1_parse_dump(bio.get(), der.data(), static_cast<long>(der.size()), 0, 0), 1);
        char* data = nullptr;
        const long n = BIO_get_mem_data(bio.get(), &data);
        cr_assert(std::string(data, static_cast<std::size_t>(n))
                      .find("2.25.317020062513171469457822931202711868862.1.") != std::string::npos);
    }
}

Test(objects, der_numbers_lengths_and_times_at_their_edges) {
    for (const std::uint64_t v :
         {0ULL, 1ULL, 127ULL, 128ULL, 255ULL, 256ULL, 32767ULL, 32768ULL, ~0ULL >> 1, ~0ULL}) {
        DerWriter w;
        w.integer(v);
        const Bytes der = w.take();
        DerReader r(der);
        cr_assert_eq(r.integer(), v);
        cr_assert(r.finish("number").has_value());
    }
    for (const std::size_t n : {0, 1, 127, 128, 255, 256, 65535, 65536}) {
        DerWriter w;
        w.octets(Bytes(n, 7));
        const Bytes der = w.take();
        DerReader r(der);
        cr_assert_eq(r.octets(n).size(), n);
        cr_assert(r.finish("octets").has_value());
        if (n > 0) {
            DerReader small(der);
            small.octets(n - 1);
            cr_assert(small.finish("octets").code() == Errc::too_large);
        }
    }
    for (const std::int64_t t : {std::int64_t{0}, std::int64_t{951782399}, std::int64_t{951782400},
                                 std::int64_t{4107542399}, kMaxDerTime}) {
        DerWriter w;
        w.time(t);
        const Bytes der = w.take();
        DerReader r(der);
        cr_assert_eq(r.time(), t);
        cr_assert(r.finish("time").has_value());
    }
    const Bytes empty = text_der("");
    DerReader r(empty);
    cr_assert_eq(r.integer(), 0u);
    cr_assert(r.finish("nothing").code() == Errc::malformed);
}

Test(objects, der_is_read_strictly_before_anything_is_compared) {
    struct {
        const char* what;
        Bytes der;
        bool number;
    } const rows[] = {
        {"number with a zero before it", {2, 2, 0, 0x7f}, true},
        {"number with a long length", {2, 0x81, 1, 5}, true},
        {"octets with a zero in the length", {4, 0x82, 0, 1, 5}, false},
        {"octets of indefinite length", {4, 0x80, 0, 0}, false},
        {"octets longer than what is there", {4, 2, 5}, false},
        {"a length of five octets", {4, 0x85, 0, 0, 0, 0, 1, 5}, false},
    };
    for (const auto& row : rows) {
        DerReader r(row.der);
        if (row.number)
            r.integer();
        else
            r.octets(100);
        cr_assert(r.finish("value").code() == Errc::malformed, "%s", row.what);
    }
    const Bytes inner_beyond_outer{0x30, 3, 4, 2, 5, 6};
    DerReader r(inner_beyond_outer);
    r.sequence([&] { r.octets(2); });
    cr_assert(r.finish("sequence").code() == Errc::malformed);
}
