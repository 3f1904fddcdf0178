# What goes beside the programs: the unit of systemd, its user, and configurations to start from.
systemdsystemunit_DATA = dist/msslproxy.service
sysusersdir = $(prefix)/lib/sysusers.d
tmpfilesdir = $(prefix)/lib/tmpfiles.d
examplesdir = $(docdir)/examples
dist_examples_DATA = \
	dist/client.toml \
	dist/server.toml \
	$(end_of_list)

EXTRA_DIST += \
	dist/mssl.sysusers \
	dist/mssl.tmpfiles \
	dist/msslproxy.service.in \
	$(end_of_list)

CLEANFILES += dist/msslproxy.service
dist/msslproxy.service: dist/msslproxy.service.in Makefile
	$(AM_V_GEN)$(MKDIR_P) dist && \
	$(SED) -e 's,[@]sbindir@,$(sbindir),g' -e 's,[@]sysconfdir@,$(sysconfdir),g' $(srcdir)/dist/msslproxy.service.in > $@

# Named mssl.conf where they go.
install-data-hook:
	$(MKDIR_P) $(DESTDIR)$(sysusersdir) $(DESTDIR)$(tmpfilesdir)
	$(INSTALL_DATA) $(srcdir)/dist/mssl.sysusers $(DESTDIR)$(sysusersdir)/mssl.conf
	$(INSTALL_DATA) $(srcdir)/dist/mssl.tmpfiles $(DESTDIR)$(tmpfilesdir)/mssl.conf

uninstall-hook:
	rm -f $(DESTDIR)$(sysusersdir)/mssl.conf $(DESTDIR)$(tmpfilesdir)/mssl.conf
