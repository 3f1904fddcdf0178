// mssl(1): one verb, one file.
#include <sysexits.h>

#include <cstdio>
#include <string_view>

int main(int argc, char** argv) {
    if (argc == 2 && std::string_view(argv[1]) == "--version") {
        std::puts("mssl " PACKAGE_VERSION);
        return EX_OK;
    }
    std::fputs("usage: mssl verb [argument ...]\n", stderr);
    return EX_USAGE;
}
