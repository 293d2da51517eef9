# SPDX-License-Identifier: GPL-2.0
# libduet.a: what agents, controller and tools share.
lib-objs := $(patsubst %.c,%.o,$(wildcard lib/*.c))
lib-libs := libmnl libnl-route-3.0 libnl-3.0 libsystemd libmicrohttpd gnutls libcurl jansson inih libcap-ng
CPPFLAGS += $(shell $(PKG_CONFIG) --cflags libnl-3.0 2>/dev/null)
