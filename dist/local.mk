# What goes beside the programs: the unit of systemd, its user, and configurations to start from.
systemdsystemunit_DATA = dist/msslproxy.service
examples_DATA = dist/intercept.conf
sysusersdir = $(prefix)/lib/sysusers.d
tmpfilesdir = $(prefix)/lib/tmpfiles.d
examplesdir = $(docdir)/examples
dist_examples_DATA = \
	dist/client.toml \
	dist/server.toml \
	$(end_of_list)
# Beside the module: what to set OPENSSL_CONF to.
dist_modules_DATA = dist/mssl.cnf

EXTRA_DIST += \
	dist/intercept.conf.in \
	dist/mssl.sysusers \
	dist/mssl.tmpfiles \
	dist/msslproxy.service.in \
	$(end_of_list)

CLEANFILES += dist/intercept.conf dist/msslproxy.service
in_place = $(SED) -e 's,[@]bindir@,$(bindir),g' -e 's,[@]sbindir@,$(sbindir),g' -e 's,[@]sysconfdir@,$(sysconfdir),g'
dist/intercept.conf: dist/intercept.conf.in Makefile
	$(AM_V_GEN)$(MKDIR_P) dist && $(in_place) $(srcdir)/dist/intercept.conf.in > $@
dist/msslproxy.service: dist/msslproxy.service.in Makefile
	$(AM_V_GEN)$(MKDIR_P) dist && $(in_place) $(srcdir)/dist/msslproxy.service.in > $@

# Named mssl.conf where they go. Manuals are written for --sysconfdir=/etc and say what it really is once installed.
manuals_with_paths = $(mandir)/man7/mssl.7 $(mandir)/man8/msslproxy.8
install-data-hook:
	$(MKDIR_P) $(DESTDIR)$(sysconfdir)/mssl
	for page in $(manuals_with_paths); do \
		$(SED) 's,/etc/mssl,$(sysconfdir)/mssl,g' "$(DESTDIR)$$page" > "$(DESTDIR)$$page.new" && \
		mv -f "$(DESTDIR)$$page.new" "$(DESTDIR)$$page" || exit 1; \
	done
	$(MKDIR_P) $(DESTDIR)$(sysusersdir) $(DESTDIR)$(tmpfilesdir)
	$(INSTALL_DATA) $(srcdir)/dist/mssl.sysusers $(DESTDIR)$(sysusersdir)/mssl.conf
	$(INSTALL_DATA) $(srcdir)/dist/mssl.tmpfiles $(DESTDIR)$(tmpfilesdir)/mssl.conf

uninstall-hook:
	rm -f $(DESTDIR)$(sysusersdir)/mssl.conf $(DESTDIR)$(tmpfilesdir)/mssl.conf
