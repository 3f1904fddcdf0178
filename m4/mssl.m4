# MSSL_CHECK_CXXFLAG(FLAG, [IF-KNOWN], [IF-NOT]): does the C++ compiler know FLAG?
AC_DEFUN([MSSL_CHECK_CXXFLAG],
[AC_MSG_CHECKING([whether $CXX knows $1])
mssl_saved_CXXFLAGS=$CXXFLAGS
CXXFLAGS="$CXXFLAGS -Werror $1"
AC_COMPILE_IFELSE([AC_LANG_PROGRAM([], [])],
  [AC_MSG_RESULT([yes]); CXXFLAGS=$mssl_saved_CXXFLAGS; $2],
  [AC_MSG_RESULT([no]); CXXFLAGS=$mssl_saved_CXXFLAGS; $3])
])

# MSSL_REQUIRE(PREFIX, MODULES, DEBIAN-PACKAGE): pkg-config modules without which nothing is built. Their
# directories become system ones: what is wrong inside them is not ours to warn about.
AC_DEFUN([MSSL_REQUIRE],
[PKG_CHECK_MODULES([$1], [$2], [],
  [AC_MSG_ERROR([$2 not found: on Debian, the package $3])])
$1[]_CFLAGS=`AS_ECHO(["$$1[]_CFLAGS"]) | sed 's/-I *\//-isystem \//g'`
])
