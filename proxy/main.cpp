// msslproxy(8): what to run is read from the command line, then the daemon is handed over to libproxy.
#include <getopt.h>
#include <sysexits.h>

#include <cstdio>

namespace {

int usage() {
    std::fputs("usage: msslproxy [-tV] [-c file]\n", stderr);
    return EX_USAGE;
}

}  // namespace

int main(int argc, char** argv) {
    for (int option; (option = getopt(argc, argv, "V")) != -1;) {
        switch (option) {
        case 'V':
            std::puts("msslproxy " PACKAGE_VERSION);
            return EX_OK;
        default:
            return usage();
        }
    }
    return usage();
}
