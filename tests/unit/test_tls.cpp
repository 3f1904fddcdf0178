#include <criterion/criterion.h>

#include "protocol/interception_ca.h"
#include "tests/unit/stream_fixture.h"

using namespace mssl;
using namespace mssl::proxy;
using namespace mssl::test;

namespace {

struct Realm {
    explicit Realm(WallTime now = wall_now())
        : realm_key(*KeyPair::generate()),
          signer_key(*KeyPair::generate()),
          realm(*RealmAuthority::make_realm(realm_key, "test", now)),
          signer(*RealmAuthority::make_signer(realm_key, realm, signer_key.public_key(), now, 30)),
          trust{realm} {}

    struct Member {
        KeyPair key;
        MemberCredentials credentials;
    };
    std::unique_ptr<Member> make_member(WallTime now = wall_now()) const {
        KeyPair key = *KeyPair::generate();
        auto certificate = RealmAuthority::make_member(signer_key, signer, key.public_key(), now, 7);
        auto member = std::make_unique<Member>(Member{std::move(key), {std::move(*certificate), signer, nullptr}});
        member->credentials.key = &member->key;
        return member;
    }

    KeyPair realm_key, signer_key;
    Certificate realm, signer;
    RealmTrust trust;
};

constexpr std::int64_t kDay = 86400;

void use_peer_contexts(Pair& p, const MemberCredentials& accepting, const MemberCredentials& connecting) {
    p.server_ctx = std::move(*make_peer_context(accepting, true));
    p.client_ctx = std::move(*make_peer_context(connecting, false));
    p.tls = TlsClient{p.client_ctx.get(), "", "mssl/1"};
}

}  // namespace

Test(tls, a_server_knows_a_member_by_its_certificate) {
    const Realm realm;
    const auto member = realm.make_member();
    Pair p(true);
    p.client_ctx = std::move(*make_client_context(p.certificate.certificate_file, &member->credentials));
    p.tls = TlsClient{p.client_ctx.get(), "localhost", "mssl/1"};
    cr_assert(p.both_open());
    cr_assert(speaks_mssl(p.server.stream->ssl()));
    const auto found = member_of(p.server.stream->ssl(), realm.trust, wall_now());
    cr_assert(found.has_value(), "%s", found.error().to_string().c_str());
    cr_assert(found->id == member->credentials.certificate.member_id());
    cr_assert(found->signer.to_der() == realm.signer.to_der());
}

Test(tls, a_client_without_membership_may_connect_to_enrol_and_is_no_member) {
    const Realm realm;
    Pair p(true);
    p.tls->alpn = "mssl/1";
    cr_assert(p.both_open());
    cr_assert(member_of(p.server.stream->ssl(), realm.trust, wall_now()).code() == Errc::not_member);
}

Test(tls, an_ordinary_client_is_not_asked_for_a_certificate) {
    const Realm realm;
    const auto member = realm.make_member();
    Pair p(true);
    p.client_ctx = std::move(*make_client_context(p.certificate.certificate_file, &member->credentials));
    p.tls = TlsClient{p.client_ctx.get(), "localhost", "http/1.1"};
    cr_assert(p.both_open());
    cr_assert_not(speaks_mssl(p.server.stream->ssl()));
    cr_assert(member_of(p.server.stream->ssl(), realm.trust, wall_now()).code() == Errc::not_member);
}

Test(tls, an_ordinary_client_without_alpn_is_served) {
    Pair p(true);
    p.tls->alpn.clear();
    cr_assert(p.both_open());
    cr_assert(p.server.stream->alpn().empty());
}

Test(tls, an_ordinary_client_may_speak_tls_1_2) {
    Pair p(true);
    SSL_CTX_set_min_proto_version(p.client_ctx.get(), TLS1_2_VERSION);
    SSL_CTX_set_max_proto_version(p.client_ctx.get(), TLS1_2_VERSION);
    cr_assert(p.both_open());
    cr_assert_eq(SSL_version(p.server.stream->ssl()), TLS1_2_VERSION);
}

Test(tls, mssl_is_tls_1_3_or_nothing) {
    Pair p(true);
    SSL_CTX_set_min_proto_version(p.client_ctx.get(), TLS1_2_VERSION);
    SSL_CTX_set_max_proto_version(p.client_ctx.get(), TLS1_2_VERSION);
    p.tls->alpn = "mssl/1";
    p.connect();
    p.accept();
    cr_assert(turn_until(p.loop, [&] { return p.client.error && p.server.error; }));
    cr_assert_not(p.server.open || p.client.open);
}

Test(tls, mssl_is_preferred_when_both_are_offered) {
    Pair p(true);
    p.tls->alpn.clear();
    const unsigned char both[] = "\x08http/1.1\x06mssl/1";
    cr_assert_eq(SSL_CTX_set_alpn_protos(p.client_ctx.get(), both, sizeof both - 1), 0);
    cr_assert(p.both_open());
    cr_assert(speaks_mssl(p.server.stream->ssl()));
}

Test(tls, members_know_each_other) {
    const Realm realm;
    const auto a = realm.make_member(), b = realm.make_member();
    Pair p(true);
    use_peer_contexts(p, a->credentials, b->credentials);
    cr_assert(p.both_open());
    const auto at_server = member_of(p.server.stream->ssl(), realm.trust, wall_now());
    const auto at_client = member_of(p.client.stream->ssl(), realm.trust, wall_now());
    cr_assert(at_server && at_client);
    cr_assert(at_server->id == b->credentials.certificate.member_id());
    cr_assert(at_client->id == a->credentials.certificate.member_id());
}

Test(tls, a_session_between_members_cannot_be_resumed) {
    const Realm realm;
    const auto a = realm.make_member(), b = realm.make_member();
    Pair p(true);
    use_peer_contexts(p, a->credentials, b->credentials);
    p.server.to_send = "any post-handshake message has come before this";
    cr_assert(p.both_open());
    cr_assert(turn_until(p.loop, [&] { return p.client.received == p.server.to_send; }));
    cr_assert_eq(SSL_SESSION_is_resumable(SSL_get0_session(p.client.stream->ssl())), 0);
}

Test(tls, a_member_of_another_realm_is_refused) {
    const Realm realm, other;
    const auto a = realm.make_member(), b = other.make_member();
    Pair p(true);
    use_peer_contexts(p, a->credentials, b->credentials);
    cr_assert(p.both_open());
    cr_assert(member_of(p.server.stream->ssl(), realm.trust, wall_now()).code() == Errc::bad_certificate);
}

Test(tls, an_expired_membership_is_refused_as_expired) {
    const Realm realm;
    const auto a = realm.make_member(), b = realm.make_member();
    Pair p(true);
    use_peer_contexts(p, a->credentials, b->credentials);
    cr_assert(p.both_open());
    const WallTime later{wall_now().unix_seconds + 8 * kDay};
    cr_assert(member_of(p.server.stream->ssl(), realm.trust, later).code() == Errc::expired);
}

Test(tls, a_peer_must_show_a_certificate) {
    const Realm realm;
    const auto a = realm.make_member();
    Pair p(true);
    p.server_ctx = std::move(*make_peer_context(a->credentials, true));
    SSL_CTX_set_verify(p.client_ctx.get(), SSL_VERIFY_NONE, nullptr);
    p.tls = TlsClient{p.client_ctx.get(), "", "mssl/1"};
    p.connect();
    p.accept();
    cr_assert(turn_until(p.loop, [&] { return p.server.error.has_value(); }));
    cr_assert_not(p.server.open);
}

Test(tls, an_interception_ca_vouches_to_applications_and_not_to_the_proxy) {
    const Result<InterceptionCa> ca = InterceptionCa::make({"localhost"}, wall_now(), 1);
    const Result<InterceptionCa::Leaf> leaf = ca->issue("localhost", wall_now());
    for (const bool to_origin : {false, true}) {
        Pair p(true);
        p.server_ctx = std::move(*make_leaf_context(leaf->key.get(), leaf->certificate.get()));
        const std::string trusted = p.dir.write("trusted.pem", ca->certificate_pem());
        p.client_ctx = std::move(*(to_origin ? make_origin_context(trusted) : make_client_context(trusted, nullptr)));
        p.tls = TlsClient{p.client_ctx.get(), "localhost", "http/1.1"};
        p.connect();
        p.accept();
        cr_assert(turn_until(p.loop, [&] { return p.client.error.has_value(); }));
        cr_assert(p.client.error->code == Errc::bad_certificate, "%s", p.client.error->to_string().c_str());
    }
}

Test(tls, a_context_names_the_file_that_does_not_fit) {
    const TempDir dir;
    const TestCertificate a(dir, "a", "DNS:a"), b(dir, "b", "DNS:b");
    const auto missing = make_server_context(dir.path("none.pem"), a.key_file);
    cr_assert(!missing && missing.error().detail.find("none.pem") != std::string::npos);
    const auto mixed = make_server_context(a.certificate_file, b.key_file);
    cr_assert(!mixed && mixed.error().detail.find("b.key") != std::string::npos);
    const auto ca = make_client_context(dir.path("none.pem"), nullptr);
    cr_assert(!ca && ca.error().detail.find("none.pem") != std::string::npos);
}
