// The object identifiers of mSSL: below 2.25.(a UUID made once), so no registry is asked (ITU-T X.667).
#pragma once

#include <array>
#include <cstdint>

namespace mssl::oid {

// Content octets of 2.25.317020062513171469457822931202711868862.1.N (ITU-T X.690 §8.19). N names a type of
// object in its first version; another syntax takes another N.
using Oid = std::array<std::uint8_t, 22>;

constexpr Oid object(std::uint8_t n) {
    return {0x69, 0x83, 0xdc, 0xff, 0xeb, 0xf5, 0xf9, 0xc3, 0xe2, 0xb5, 0xbd,
            0xb4, 0x88, 0xed, 0x9c, 0xb3, 0xde, 0xf7, 0xab, 0x3e, 1,    n};
}

inline constexpr Oid kManifest = object(1);
inline constexpr Oid kHead = object(2);
inline constexpr Oid kTicket = object(3);

}  // namespace mssl::oid
