// Stands in for libFuzzer where there is none: feeds the empty input and every file of the corpus to the target.
// argv: corpus directories or files; none means tests/fuzz/corpus/NAME of the source tree (from $srcdir).
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

namespace fs = std::filesystem;

int inputs = 0;

void run_file(const fs::path& path) {
    std::ifstream in(path, std::ios::binary);
    const std::vector<char> bytes(std::istreambuf_iterator<char>(in), {});
    std::printf("%s\n", path.c_str());
    std::fflush(stdout);
    (void)LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
    ++inputs;
}

void run(const fs::path& path) {
    if (!fs::is_directory(path)) return run_file(path);
    for (const auto& entry : fs::recursive_directory_iterator(path)) {
        if (entry.is_regular_file()) run_file(entry.path());
    }
}

fs::path default_corpus(const fs::path& program) {
    std::string name = program.filename().string();
    constexpr std::string_view prefix = "fuzz_";
    if (name.starts_with(prefix)) name.erase(0, prefix.size());
    const char* srcdir = std::getenv("srcdir");
    return fs::path(srcdir != nullptr ? srcdir : ".") / "tests/fuzz/corpus" / name;
}

}  // namespace

int main(int argc, char** argv) {
    (void)LLVMFuzzerTestOneInput(nullptr, 0);
    for (int i = 1; i < argc; ++i) run(argv[i]);
    if (argc == 1) {
        const fs::path corpus = default_corpus(argv[0]);
        if (fs::exists(corpus)) run(corpus);
    }
    std::printf("%d inputs of the corpus\n", inputs);
    return 0;
}
