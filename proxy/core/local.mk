libproxy_la_SOURCES += \
	$(end_of_list)
