#include "proxy/client/enroller.h"

#include <openssl/crypto.h>

#include "protocol/resolve.h"

namespace mssl::proxy {
namespace {

Result<EnrolledIdentity> identity_of(const Enrolled& enrolled, const PublicKey& key) {
    Result<Certificate> realm = Certificate::from_der(enrolled.realm_der);
    if (!realm) return std::move(realm).error();
    Result<Certificate> signer = Certificate::from_der(enrolled.signer_der);
    if (!signer) return std::move(signer).error();
    Result<Certificate> member = Certificate::from_der(enrolled.member_der);
    if (!member) return std::move(member).error();
    EnrolledIdentity out{RealmTrust{*realm}, *signer, *member};
    const WallTime now = wall_now();
    if (Status s = out.trust.check_signer(out.signer, now); !s) return s.error();
    if (Status s = out.trust.check_member(out.member, out.signer, now); !s) return s.error();
    if (out.member.public_key() != key) return fail(Errc::malformed, "the certificate is for another key");
    return out;
}

}  // namespace

void Enroller::start(Loop& loop, std::vector<Address> server, const TlsClient& tls, std::shared_ptr<SSL_CTX> context,
                     std::shared_ptr<const KeyPair> key, std::string token, Done done, Duration limit) {
    std::unique_ptr<Enroller> e(
        new Enroller(loop, std::move(context), std::move(key), std::move(token), std::move(done)));
    Enroller& r = *e;
    r.self_ = std::move(e);
    Hello hello;
    hello.abilities = kAbilityPlain;
    WireHandler& handler = r;
    r.deadline_.start(limit);
    r.wire_ = std::make_unique<Wire>(loop, SessionRole::member_to_server, hello, handler);
    r.wire_->begin(Stream::connect(loop, std::move(server), &tls, r.wire_->as_stream_handler()));
}

Enroller::Enroller(Loop& loop, std::shared_ptr<SSL_CTX> context, std::shared_ptr<const KeyPair> key, std::string token,
                   Done done)
    : loop_(&loop),
      context_(std::move(context)),
      key_(std::move(key)),
      token_(std::move(token)),
      done_(std::move(done)),
      deadline_(loop, [this] { end(fail(Errc::timed_out, "no answer to the enrolment")); }) {}

Enroller::~Enroller() {
    OPENSSL_cleanse(token_.data(), token_.size());
    if (wire_) {
        wire_->abandon();
        loop_->dispose(std::move(wire_));
    }
}

void Enroller::on_ready(const Hello&) {
    Result<Hash> exporter = wire_->stream().exporter(kEnrolExporter);
    if (!exporter) return end(exporter.error());
    Result<Signature> proof = sign_possession(*key_, "mssl/1 enrol", exporter->view());
    if (!proof) return end(proof.error());
    wire_->send(Enrol{key_->public_key(), *proof, token_});
}

Status Enroller::on_frame(ControlFrame frame) {
    if (const auto* enrolled = std::get_if<Enrolled>(&frame)) {
        end(identity_of(*enrolled, key_->public_key()));
        return {};
    }
    return fail(Errc::unexpected, "a frame other than ENROLLED");
}

Result<Slot> Enroller::slot(const DataHeader&, std::size_t) { return fail(Errc::unexpected, "DATA"); }
Status Enroller::on_data(const DataHeader&, View) { return fail(Errc::unexpected, "DATA"); }
void Enroller::on_closed(const Error& why) { end(why); }

void Enroller::end(Result<EnrolledIdentity> result) {
    if (!self_) return;
    deadline_.stop();
    wire_->abandon();
    Done done = std::move(done_);
    loop_->dispose(std::move(self_));
    done(std::move(result));
}

}  // namespace mssl::proxy
