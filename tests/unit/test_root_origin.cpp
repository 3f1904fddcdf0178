// A directory as an origin: what it answers, and that there is no way out of it.
#include <criterion/criterion.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proxy/server/root_origin.h"
#include "tests/unit/tls_fixture.h"

using namespace mssl;
using namespace mssl::proxy;
using mssl::test::TempDir;

namespace {

constexpr WallTime kNow{1'800'000'000};

struct Root {
    TempDir dir;
    Fd fd;
    Root() {
        dir.write("www/hello.txt", "hello, world");
        dir.write("www/sub/a b%.txt", "spaced");
        dir.write("secret", "outside");
        fd = Fd(::open(dir.path("www").c_str(), O_RDONLY | O_DIRECTORY));
    }
    RootAnswer ask(const std::string& target, const std::string& method = "GET", Fields fields = {}) const {
        RequestHead r;
        r.method = method;
        r.target = target;
        r.fields = std::move(fields);
        return answer_from_root(fd.get(), r, kNow);
    }
    std::string read(const RootAnswer& a) const {
        std::string out(a.head.length, '\0');
        cr_assert_eq(::pread(a.file.get(), out.data(), out.size(), static_cast<off_t>(a.first)), static_cast<ssize_t>(out.size()));
        return out;
    }
};

Fields with(const std::string& name, const std::string& value) {
    Fields f;
    f.add(name, value);
    return f;
}

}  // namespace

Test(root_path, decodes_what_names_a_file_and_nothing_else) {
    struct Case {
        const char* target;
        const char* path;  // null: nothing
    };
    const Case cases[] = {
        {"/a", "a"},           {"/a/b.c", "a/b.c"},      {"/a%20b", "a b"},      {"/a?x=/../y", "a"},  {"/%41%2e%2E%2e", "A..."},
        {"/", nullptr},        {"a", nullptr},           {"*", nullptr},         {"/..", nullptr},     {"/a/../b", nullptr},
        {"/./a", nullptr},     {"/%2e%2e/a", nullptr},   {"/.%2E/a", nullptr},   {"/a%2Fb", nullptr},  {"/a%00b", nullptr},
        {"/a%", nullptr},      {"/a%4", nullptr},        {"/a%zz", nullptr},     {"//a", nullptr},     {"/a/", nullptr},
        {"/a//b", nullptr},    {"/%2e", nullptr},
    };
    for (const Case& c : cases) {
        const auto path = root_path(c.target);
        cr_assert_eq(path.has_value(), c.path != nullptr, "%s", c.target);
        if (path) cr_assert_eq(*path, c.path, "%s", c.target);
    }
}

Test(root_origin, answers_a_file_with_everything_a_cache_wants_to_know) {
    const Root root;
    const RootAnswer a = root.ask("/hello.txt");
    cr_assert_eq(a.head.status, 200);
    cr_assert_eq(root.read(a), "hello, world");
    for (const char* name : {"ETag", "Last-Modified", "Date", "Accept-Ranges", "Content-Type"})
        cr_assert_eq(a.head.fields.count(name), 1U, "%s", name);
    cr_assert_eq(root.read(root.ask("/sub/a%20b%25.txt")), "spaced");
}

Test(root_origin, gives_a_changed_file_another_tag) {
    const Root root;
    const std::string before = *root.ask("/hello.txt").head.fields.find("ETag");
    root.dir.write("www/hello.txt", "HELLO, world");
    const timespec times[2] = {{0, 1}, {0, 2}};
    cr_assert_eq(::utimensat(AT_FDCWD, root.dir.path("www/hello.txt").c_str(), times, 0), 0);
    cr_assert_neq(*root.ask("/hello.txt").head.fields.find("ETag"), before);
}

Test(root_origin, answers_ranges_and_preconditions) {
    const Root root;
    const std::string etag = *root.ask("/hello.txt").head.fields.find("ETag");
    const RootAnswer part = root.ask("/hello.txt", "GET", with("Range", "bytes=7-10"));
    cr_assert_eq(part.head.status, 206);
    cr_assert_eq(*part.head.fields.find("Content-Range"), "bytes 7-10/12");
    cr_assert_eq(root.read(part), "worl");
    const RootAnswer beyond = root.ask("/hello.txt", "GET", with("Range", "bytes=12-"));
    cr_assert_eq(beyond.head.status, 416);
    cr_assert_eq(*beyond.head.fields.find("Content-Range"), "bytes */12");
    cr_assert_eq(root.ask("/hello.txt", "GET", with("If-None-Match", etag)).head.status, 304);
    cr_assert_eq(root.ask("/hello.txt", "GET", with("If-Match", "\"x\"")).head.status, 412);
    Fields stale = with("Range", "bytes=0-0");
    stale.add("If-Range", "\"x\"");
    cr_assert_eq(root.ask("/hello.txt", "GET", stale).head.status, 200);
}

Test(root_origin, answers_head_without_a_body_and_other_methods_not_at_all) {
    const Root root;
    const RootAnswer head = root.ask("/hello.txt", "HEAD");
    cr_assert_eq(head.head.status, 200);
    cr_assert(head.head.body == BodyKind::none && !head.file && head.text.empty());
    cr_assert_eq(*head.head.fields.find("Content-Length"), "12");
    const RootAnswer post = root.ask("/hello.txt", "POST");
    cr_assert_eq(post.head.status, 405);
    cr_assert_eq(*post.head.fields.find("Allow"), "GET, HEAD");
}

Test(root_origin, has_no_way_out) {
    const Root root;
    const std::string www = root.dir.path("www");
    cr_assert_eq(::symlink("../secret", (www + "/link").c_str()), 0);
    cr_assert_eq(::symlink(root.dir.path("secret").c_str(), (www + "/absolute").c_str()), 0);
    cr_assert_eq(::symlink("..", (www + "/up").c_str()), 0);
    cr_assert_eq(::symlink("/", (www + "/slash").c_str()), 0);
    cr_assert_eq(::mkfifo((www + "/pipe").c_str(), 0600), 0);
    for (const char* target : {"/link", "/absolute", "/up/secret", "/slash/etc/passwd", "/../secret", "/%2e%2e/secret", "/sub", "/pipe",
                               "/absent", "/sub/../../secret"})
        cr_assert_eq(root.ask(target).head.status, 404, "%s", target);
}
