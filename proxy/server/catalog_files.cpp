#include "proxy/server/catalog_files.h"

#include "protocol/bytes.h"
#include "proxy/core/files.h"

namespace mssl::proxy {

Status write_signed_file(const std::string& path, const Certificate& signer, View der) {
    Writer w;
    w.u8(kCatalogVersion);
    w.var16(signer.to_der());
    w.var24(der);
    return write_file_durably(path, w.view(), 0600);
}

Result<SignedFile> read_signed_file(const std::string& path, const RealmTrust& trust) {
    Result<Bytes> file = read_file(path, kMaxObjectDer + Certificate::kMaxCertificateBytes + 16);
    if (!file) return file.error();
    Reader r(*file);
    if (r.u8() != kCatalogVersion) return fail(Errc::unsupported, path + ": another format version");
    const View signer_der = r.var16(Certificate::kMaxCertificateBytes);
    const View der = r.var24(kMaxObjectDer);
    if (Status s = r.finish(path); !s) return s.error();
    Result<Certificate> signer = Certificate::from_der(signer_der);
    if (!signer) return signer.error();
    if (Status s = trust.check_signer(*signer, signer->not_before()); !s) return s.error();
    return SignedFile{*std::move(signer), Bytes(der.begin(), der.end())};
}

Status write_nodes_file(const std::string& path, const std::vector<Hash>& nodes) {
    Bytes out;
    out.reserve(1 + nodes.size() * Hash::size);
    out.push_back(kCatalogVersion);
    for (const Hash& node : nodes) out.insert(out.end(), node.bytes.begin(), node.bytes.end());
    return write_file_durably(path, out, 0600);
}

Result<std::vector<Hash>> read_nodes_file(const std::string& path, std::uint64_t count) {
    const std::uint64_t bytes = 1 + count * Hash::size;
    Result<Bytes> file = read_file(path, static_cast<std::size_t>(bytes));
    if (!file) return file.error();
    if (file->empty() || file->front() != kCatalogVersion) return fail(Errc::unsupported, path + ": another format version");
    if (file->size() != bytes) return fail(Errc::malformed, path + ": not as many nodes as the object has blocks");
    std::vector<Hash> out;
    out.reserve(static_cast<std::size_t>(count));
    for (std::size_t at = 1; at < file->size(); at += Hash::size) out.push_back(Hash::from(View(*file).subspan(at, Hash::size)));
    return out;
}

}  // namespace mssl::proxy
