// What the client half tells the status page: "transfers", "sites", "store".
#pragma once

#include <memory>

#include "proxy/client/site_table.h"
#include "proxy/client/transfer.h"
#include "proxy/core/status.h"

namespace mssl::proxy {

void report_client(StatusSources& to, std::shared_ptr<Transfers> transfers, std::shared_ptr<const SiteTable> sites,
                   std::shared_ptr<StoreDirectory> store);
std::string transfer_json(const TransferStatus& status);

}  // namespace mssl::proxy
