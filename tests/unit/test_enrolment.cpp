// The realm in its directory, and who becomes a member of it.
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <future>

#include "protocol/resolve.h"
#include "proxy/client/enroller.h"
#include "proxy/core/tls.h"
#include "proxy/server/enrolment.h"
#include "tests/unit/hosting_fixture.h"
#include "tests/unit/tls_fixture.h"

using namespace mssl;
using namespace mssl::proxy;
using mssl::test::TempDir;

namespace {

constexpr WallTime kNow{1'800'000'000};

ServerConfig config_in(const TempDir& dir, const std::string& tokens = {}) {
    ServerConfig c;
    c.state = dir.path("state");
    if (!tokens.empty()) {
        c.enrol = "token";
        c.token_file = dir.write("tokens", tokens);
    }
    return c;
}

struct Applicant {
    KeyPair key = KeyPair::generate().value();
    Bytes exporter = Bytes(32, 7);
    Enrol request(const std::string& token = {}) const {
        return {key.public_key(), sign_possession(key, "mssl/1 enrol", exporter).value(), token};
    }
};

Errc code_of(const Result<Certificate>& r) { return r.code(); }

}  // namespace

Test(realm, is_the_same_after_a_restart_and_its_keys_are_its_owners_alone) {
    const TempDir dir;
    const auto first = Realm::open(dir.path("state"), kNow).value();
    const auto second = Realm::open(dir.path("state"), kNow).value();
    cr_assert(first->trust().id() == second->trust().id());
    cr_assert(first->signer_id() == second->signer_id());
    for (const char* name : {"state/realm.key", "state/signer.key"}) {
        struct stat s {};
        cr_assert_eq(::stat(dir.path(name).c_str(), &s), 0);
        cr_assert_eq(s.st_mode & 07777, 0600U, "%s", name);
    }
}

Test(realm, replaces_its_signer_long_before_it_ends) {
    const TempDir dir;
    const auto first = Realm::open(dir.path("state"), kNow).value();
    const auto same = Realm::open(dir.path("state"), {kNow.unix_seconds + 40 * 86400}).value();
    const WallTime later{kNow.unix_seconds + 50 * 86400};
    const auto next = Realm::open(dir.path("state"), later).value();
    cr_assert(first->signer_id() == same->signer_id());
    cr_assert(first->signer_id() != next->signer_id());
    cr_assert(next->trust().check_signer(next->signer(), later).has_value());
    cr_assert(first->trust().check_signer(next->signer(), later).has_value());
}

Test(realm, works_without_its_key_until_the_signer_ends) {
    const TempDir dir;
    const auto first = Realm::open(dir.path("state"), kNow).value();
    cr_assert_eq(::unlink(dir.path("state/realm.key").c_str()), 0);
    cr_assert(Realm::open(dir.path("state"), {kNow.unix_seconds + 60 * 86400}).has_value());
    cr_assert_not(Realm::open(dir.path("state"), {kNow.unix_seconds + 100 * 86400}).has_value());
}

Test(realm, says_when_it_is_time_for_a_signer_that_nobody_can_sign) {
    const TempDir dir;
    const auto first = Realm::open(dir.path("state"), kNow).value();
    cr_assert(first->renewed(dir.path("state"), {kNow.unix_seconds + 40 * 86400}).value() == nullptr);
    const std::string key = dir.path("state/realm.key");
    cr_assert_eq(::rename(key.c_str(), (key + ".away").c_str()), 0);
    cr_assert_eq(first->renewed(dir.path("state"), {kNow.unix_seconds + 50 * 86400}).code(), Errc::no_such_object);
    cr_assert_not(first->renewed(dir.path("state"), {kNow.unix_seconds + 100 * 86400}).has_value());
    cr_assert_eq(::rename((key + ".away").c_str(), key.c_str()), 0);
    const auto next = first->renewed(dir.path("state"), {kNow.unix_seconds + 100 * 86400}).value();
    cr_assert(next->trust().id() == first->trust().id() && next->signer_id() != first->signer_id());
}

Test(realm, refuses_a_signer_of_another_realm) {
    const TempDir dir, other;
    (void)Realm::open(dir.path("state"), kNow).value();
    (void)Realm::open(other.path("state"), kNow).value();
    for (const char* name : {"signer.key", "signer.pem"}) {
        const std::string to = dir.path(std::string("state/") + name);
        ::unlink(to.c_str());
        cr_assert_eq(::link(other.path(std::string("state/") + name).c_str(), to.c_str()), 0);
    }
    // With the realm's key at hand a new one is made; without, nobody can vouch for that signer.
    ::unlink(dir.path("state/realm.key").c_str());
    cr_assert_not(Realm::open(dir.path("state"), kNow).has_value());
}

Test(enrolment, gives_anybody_with_a_key_a_membership_that_the_realm_accepts) {
    const TempDir dir;
    const std::shared_ptr<const Realm> realm = Realm::open(dir.path("state"), kNow).value();
    const auto enrolment = Enrolment::open(config_in(dir), realm).value();
    const Applicant a;
    const Certificate c = enrolment->enrol(a.request(), a.exporter, kNow).value();
    cr_assert(c.public_key() == a.key.public_key());
    cr_assert(realm->trust().check_member(c, realm->signer(), kNow).has_value());
}

Test(enrolment, wants_possession_of_the_key_proven_on_this_very_connection) {
    const TempDir dir;
    const std::shared_ptr<const Realm> realm = Realm::open(dir.path("state"), kNow).value();
    const auto enrolment = Enrolment::open(config_in(dir, "good\n"), realm).value();
    const Applicant a;
    cr_assert_eq(code_of(enrolment->enrol(a.request("good"), Bytes(32, 8), kNow)), Errc::bad_signature);
    Enrol other_key = a.request("good");
    other_key.key = KeyPair::generate().value().public_key();
    cr_assert_eq(code_of(enrolment->enrol(other_key, a.exporter, kNow)), Errc::bad_signature);
    // Neither used up the token.
    cr_assert(enrolment->enrol(a.request("good"), a.exporter, kNow).has_value());
}

Test(enrolment, takes_each_token_of_one_member_alone_even_after_a_restart_and_a_reload) {
    const TempDir dir;
    const std::shared_ptr<const Realm> realm = Realm::open(dir.path("state"), kNow).value();
    const ServerConfig config = config_in(dir, "# comment\none\r\n\n  two  \nthree");
    const auto enrolment = Enrolment::open(config, realm).value();
    const Applicant a, b;
    const auto by = [&](const Applicant& who, Enrolment& e, const char* token) {
        return code_of(e.enrol(who.request(token), who.exporter, kNow));
    };
    const auto with = [&](Enrolment& e, const char* token) { return by(a, e, token); };
    cr_assert_eq(with(*enrolment, ""), Errc::denied);
    cr_assert_eq(with(*enrolment, "# comment"), Errc::denied);
    cr_assert_eq(with(*enrolment, "on"), Errc::denied);
    cr_assert_eq(with(*enrolment, "one"), Errc::ok);
    cr_assert_eq(by(b, *enrolment, "one"), Errc::denied);
    cr_assert(enrolment->reload(config).has_value());
    cr_assert_eq(by(b, *enrolment, "one"), Errc::denied);
    const auto again = Enrolment::open(config, realm).value();
    cr_assert_eq(by(b, *again, "one"), Errc::denied);
    cr_assert_eq(with(*again, "two"), Errc::ok);
    cr_assert_eq(with(*again, "three"), Errc::ok);
}

Test(enrolment, renews_the_member_that_used_a_token_until_the_operator_takes_it_away) {
    const TempDir dir;
    const std::shared_ptr<const Realm> realm = Realm::open(dir.path("state"), kNow).value();
    const Applicant a;
    for (int day = 0; day < 14; day += 6) {
        const auto enrolment = Enrolment::open(config_in(dir, "one\n"), realm).value();
        const WallTime then{kNow.unix_seconds + day * 86400};
        const Result<Certificate> made = enrolment->enrol(a.request("one"), a.exporter, then);
        cr_assert(made.has_value(), "day %d", day);
        cr_assert(realm->trust().check_member(*made, realm->signer(), then).has_value(), "day %d", day);
    }
    const auto without = Enrolment::open(config_in(dir, "two\n"), realm).value();
    cr_assert_eq(code_of(without->enrol(a.request("one"), a.exporter, kNow)), Errc::denied);
}

Test(enrolment, gives_nobody_a_token_whose_user_an_older_version_did_not_note) {
    const TempDir dir;
    const std::shared_ptr<const Realm> realm = Realm::open(dir.path("state"), kNow).value();
    // SHA-256 of "one".
    dir.write("state/used-tokens", "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed\n");
    const auto enrolment = Enrolment::open(config_in(dir, "one\n"), realm).value();
    const Applicant a;
    cr_assert_eq(code_of(enrolment->enrol(a.request("one"), a.exporter, kNow)), Errc::denied);
}

Test(enrolment, gives_nothing_when_the_use_of_a_token_cannot_be_recorded) {
    const TempDir dir;
    const std::shared_ptr<const Realm> realm = Realm::open(dir.path("state"), kNow).value();
    const auto enrolment = Enrolment::open(config_in(dir, "one\n"), realm).value();
    cr_assert_eq(::unlink(dir.path("state/used-tokens").c_str()), 0);
    const Applicant a;
    cr_assert_eq(code_of(enrolment->enrol(a.request("one"), a.exporter, kNow)), Errc::io);
}

Test(enrolment, keeps_its_settings_when_a_reload_cannot_be_read) {
    const TempDir dir;
    const std::shared_ptr<const Realm> realm = Realm::open(dir.path("state"), kNow).value();
    ServerConfig config = config_in(dir, "one\n");
    const auto enrolment = Enrolment::open(config, realm).value();
    config.token_file = dir.path("absent");
    cr_assert_not(enrolment->reload(config).has_value());
    const Applicant a;
    cr_assert_eq(code_of(enrolment->enrol(a.request(), a.exporter, kNow)), Errc::denied);
    cr_assert_eq(code_of(enrolment->enrol(a.request("one"), a.exporter, kNow)), Errc::ok);
}

// Requests wait for the enrolment: whoever listens there and says nothing must not hold them up.
Test(enroller, waits_so_long_for_an_answer_and_no_longer) {
    const mssl::test::TempDir files;
    const mssl::test::TestCertificate tls{files, "localhost", "DNS:localhost"};
    const Fd mute(::socket(AF_INET, SOCK_STREAM, 0));
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof at;
    cr_assert_eq(::bind(mute.get(), reinterpret_cast<const sockaddr*>(&at), size), 0);
    cr_assert_eq(::listen(mute.get(), 1), 0);
    cr_assert_eq(::getsockname(mute.get(), reinterpret_cast<sockaddr*>(&at), &size), 0);
    const Address to = Address::from(reinterpret_cast<const sockaddr*>(&at), size);

    mssl::proxy::test::Engine engine;
    Loop& loop = engine.loops.at(0);
    const std::shared_ptr<SSL_CTX> context(make_client_context(tls.certificate_file, nullptr).value());
    std::promise<Errc> said;
    engine.run(loop, [&] {
        Enroller::start(loop, {to}, TlsClient{context.get(), "localhost", std::string(kAlpnMember)}, context,
                        std::make_shared<const KeyPair>(KeyPair::generate().value()), {},
                        [&](const Result<EnrolledIdentity>& r) { said.set_value(r.code()); }, std::chrono::milliseconds(50));
    });
    cr_assert_eq(said.get_future().get(), Errc::timed_out);
}
