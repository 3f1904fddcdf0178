#include "proxy/daemon.h"

#include <algorithm>
#include <csignal>

#include "proxy/client/client_side.h"
#include "proxy/core/log.h"
#include "proxy/core/service.h"
#include "proxy/server/server_side.h"
#include "proxy/server/server_status.h"
#include "proxy/status_page.h"

namespace mssl::proxy {
namespace {

// What only a restart takes over; msslproxy.toml(5) says the same at each directive.
std::string needs_restart(const Config& before, const Config& after) {
    if (before.server.has_value() != after.server.has_value()) return "[server]";
    if (before.client.has_value() != after.client.has_value()) return "[client]";
    if (before.threads != after.threads) return "threads";
    if (before.workers != after.workers) return "workers";
    if (before.buffer_memory != after.buffer_memory) return "buffer-memory";
    if (before.status_listen != after.status_listen) return "[status] listen";
    if (before.server) {
        if (before.server->listen != after.server->listen) return "[server] listen";
        if (before.server->state != after.server->state) return "[server] state";
        if (before.server->spool_max != after.server->spool_max) return "spool-size";
    }
    if (before.client) {
        if (before.client->state != after.client->state) return "[client] state";
        if (before.client->peer_listen != after.client->peer_listen) return "[peer] listen";
        if (before.client->upload != after.client->upload) return "[peer] upload";
        const auto same = [](const InterceptConfig& a, const InterceptConfig& b) {
            return a.mode == b.mode && a.listen == b.listen;
        };
        if (!std::equal(before.client->intercept.begin(), before.client->intercept.end(),
                        after.client->intercept.begin(), after.client->intercept.end(), same))
            return "[[intercept]]";
    }
    return {};
}

}  // namespace

Daemon::Daemon(Runtime& runtime, std::shared_ptr<const Config> config)
    : runtime_(runtime),
      config_(std::move(config)),
      signals_(runtime.loops.at(0)),
      deadline_(runtime.loops.at(0), [this] {
          log::warning("drain deadline passed");
          stop();
      }) {}

// The halves, then what connections, transfers and tasks in the loops still hold: it refers to other loops and to the workers, so
// that it goes while all of them are there, and after every other thread has ended, so that it goes in one.
Daemon::~Daemon() {
    runtime_.workers.stop();
    runtime_.names.stop();
    halves_.clear();
    runtime_.loops.empty();
}

Status Daemon::start() {
    signals_.on(SIGHUP, [this] { reload(); });
    signals_.on(SIGUSR1, [] { log::reopen(); });
    signals_.on(SIGTERM, [this] { drain(); });
    signals_.on(SIGINT, [this] { drain(); });
    const auto sources = std::make_shared<StatusSources>();
    if (config_->server) {
        Result<std::unique_ptr<ServerSide>> side = ServerSide::start(runtime_, config_);
        if (!side) return side.error();
        report_server(*sources, **side);
        add(*std::move(side));
    }
    if (config_->client) {
        Result<std::unique_ptr<ClientSide>> side = ClientSide::start(runtime_, config_);
        if (!side) return side.error();
        (*side)->report(*sources);
        add(*std::move(side));
    }
    if (config_->status_listen) {
        Result<std::unique_ptr<StatusPage>> page = StatusPage::start(runtime_, *config_, sources);
        if (!page) return page.error();
        add(*std::move(page));
    }
    return {};
}

void Daemon::run() {
    state_ = State::running;
    notify_service_manager("READY=1");
    log::info("started", {{"config", config_->path},
                          {"loops", runtime_.loops.size()},
                          {"server", config_->server.has_value()},
                          {"client", config_->client.has_value()}});
    runtime_.loops.run();
    log::info("stopped");
}

void Daemon::reload() {
    if (state_ != State::running) return;
    const auto now = runtime_.loops.at(0).now().since_start.count();
    notify_service_manager("RELOADING=1\nMONOTONIC_USEC=" + std::to_string(now));
    if (Status s = take_over(); s)
        log::info("reloaded", {{"config", config_->path}});
    else
        log::error("reload refused, the old configuration stays", {{"why", s.error().detail}});
    notify_service_manager("READY=1");
}

// All or nothing: when a half refuses, those before it go back.
Status Daemon::take_over() {
    Result<std::shared_ptr<const Config>> loaded = load_config(config_->path);
    if (!loaded) return loaded.error();
    const Config& next = **loaded;
    if (const std::string key = needs_restart(*config_, next); !key.empty())
        return fail(Errc::config, config_->path + ": " + key + " has changed, which needs a restart");
    if (Status s = log::configure(next.log_level, next.log_file); !s) return s;
    for (std::size_t i = 0; i < halves_.size(); ++i) {
        Status s = halves_[i]->reload(*loaded);
        if (s) continue;
        while (i-- > 0)
            if (Status back = halves_[i]->reload(config_); !back) log::error("reload", {{"why", back.error().detail}});
        if (Status back = log::configure(config_->log_level, config_->log_file); !back)
            log::error("reload", {{"why", back.error().detail}});
        return s;
    }
    config_ = std::move(*loaded);
    return {};
}

void Daemon::drain() {
    switch (state_) {
    case State::starting:
    case State::stopped: return;
    case State::draining: stop(); return;
    case State::running: break;
    }
    state_ = State::draining;
    notify_service_manager("STOPPING=1");
    log::info("draining");
    deadline_.start(config_->drain_timeout);
    still_draining_ = 1 + halves_.size();  // one for this call itself: done may come at once
    // From whatever thread done is called in; after stop() such a post is dropped.
    const auto done = [this, &loop = runtime_.loops.at(0)] { loop.post([this] { half_drained(); }); };
    for (auto& half : halves_) half->drain(done);
    half_drained();
}

void Daemon::half_drained() {
    if (state_ == State::draining && --still_draining_ == 0) stop();
}

void Daemon::stop() {
    state_ = State::stopped;
    deadline_.stop();
    runtime_.loops.stop_all();
}

}  // namespace mssl::proxy
