# SPDX-License-Identifier: GPL-2.0
# make install, make uninstall: by part, so that each package holds one. Paths
# that units and manual pages name are /usr's; another PREFIX is written into
# the units, and configurations stay in SYSCONFDIR.
PREFIX     ?= /usr/local
SYSCONFDIR ?= /etc
UNITDIR    ?= $(or $(shell $(PKG_CONFIG) --variable=systemdsystemunitdir systemd 2>/dev/null),/usr/lib/systemd/system)
VERSION    := $(shell sed -n 's/^.define DUET_VERSION.*"\(.*\)"/\1/p' include/duet/version.h)

d_bin   := $(DESTDIR)$(PREFIX)/bin
d_sbin  := $(DESTDIR)$(PREFIX)/sbin
d_share := $(DESTDIR)$(PREFIX)/share
d_etc   := $(DESTDIR)$(SYSCONFDIR)/duet
d_unit  := $(DESTDIR)$(UNITDIR)

# program FOLDER NAMES, man SECTION NAMES, unit FILE
put_program = install -d $(1) && install -m 755 $(addprefix $(O)/bin/,$(2)) $(1)
put_man     = install -d $(d_share)/man/man$(1) && install -m 644 $(addprefix man/,$(2)) $(d_share)/man/man$(1)
put_unit    = install -d $(d_unit) && sed 's,/usr/sbin/,$(PREFIX)/sbin/,; s,/etc/duet,$(SYSCONFDIR)/duet,' $(1) >$(d_unit)/$(notdir $(1))
# a configuration that is there is its owner's
put_conf    = install -d $(d_etc) && { [ -e $(d_etc)/$(notdir $(1)) ] || install -m 644 $(1) $(d_etc); }
# the user that faces the network
put_user    = install -D -m 644 scripts/duet.sysusers $(DESTDIR)/usr/lib/sysusers.d/$(1).conf

PARTS := tools mux host controller sim bird setup
install: $(addprefix install-,$(PARTS))

install-tools: programs
	$(Q)$(call put_program,$(d_bin),duet duetctl)
	$(Q)$(call put_man,8,duet.8 duetctl.8)
	$(Q)install -d $(d_share)/bash-completion/completions
	$(Q)install -m 644 cli/duetctl.bash $(d_share)/bash-completion/completions/duetctl
install-mux: programs
	$(Q)$(call put_program,$(d_sbin),duet-mux-agent)
	$(Q)$(call put_man,8,duet-mux-agent.8)
	$(Q)$(call put_unit,agents/mux/duet-mux-agent.service)
	$(Q)$(call put_conf,agents/mux/mux-agent.conf)
install-host: programs
	$(Q)$(call put_program,$(d_sbin),duet-host-agent)
	$(Q)$(call put_man,8,duet-host-agent.8)
	$(Q)$(call put_unit,agents/host/duet-host-agent.service)
	$(Q)$(call put_conf,agents/host/host-agent.conf)
	$(Q)$(call put_user,duet-host)
install-controller: programs
	$(Q)$(call put_program,$(d_sbin),duet-controller)
	$(Q)$(call put_man,8,duet-controller.8)
	$(Q)$(call put_unit,controller/duet-controller.service)
	$(Q)$(call put_conf,controller/controller.conf)
	$(Q)$(call put_conf,controller/topology.dot)
	$(Q)$(call put_user,duet-controller)
install-sim: programs
	$(Q)$(call put_program,$(d_bin),duet-sim)
	$(Q)$(call put_man,1,duet-sim.1)
install-bird:
	$(Q)install -d $(d_share)/duet
	$(Q)cd bird-conf && find . -type f | while read -r f; do install -D -m 644 "$$f" "$(abspath $(d_share))/duet/bird/$$f" || exit 1; done
# duet-setup reads BIRD's configurations from where install-bird puts them
install-setup:
	$(Q)install -d $(d_bin) && install -m 755 setup/duet-setup $(d_bin)
	$(Q)install -d $(d_share)/duet/setup/duet_setup && install -m 644 setup/duet_setup/*.py $(d_share)/duet/setup/duet_setup
	$(Q)install -m 755 setup/install.sh $(d_share)/duet/setup && install -m 644 setup/example.yaml $(d_share)/duet/setup && echo $(VERSION) >$(d_share)/duet/setup/version
	$(Q)$(call put_man,8,duet-setup.8)
# the module's source, as DKMS takes it; and the module itself, for the running kernel
install-dkms:
	$(Q)for f in $(KMOD_SRC); do install -D -m $$([ -x $$f ] && echo 755 || echo 644) $$f $(DESTDIR)/usr/src/duet-$(VERSION)/$$f || exit 1; done
	$(Q)sed 's/#MODULE_VERSION#/$(VERSION)/' debian/duet-dkms.dkms >$(DESTDIR)/usr/src/duet-$(VERSION)/dkms.conf
install-module: $(O)/kmod/$(shell uname -r)/duet.ko
	$(Q)install -D -m 644 $< $(DESTDIR)/lib/modules/$(shell uname -r)/updates/duet.ko
	$(Q)[ -n "$(DESTDIR)" ] || depmod -a

# What an install would put there goes; a configuration only if it is still the one that came with it.
uninstall: programs
	$(Q)scratch=$$(mktemp -d) && $(MAKE) -s install DESTDIR=$$scratch PREFIX=$(PREFIX) SYSCONFDIR=$(SYSCONFDIR) UNITDIR=$(UNITDIR) && \
	(cd $$scratch && find . -type f | sed 's,^\.,,') | while read -r f; do \
		case $$f in \
		$(SYSCONFDIR)/*) ! cmp -s "$$scratch$$f" "$(DESTDIR)$$f" || rm -f "$(DESTDIR)$$f" ;; \
		*) rm -f "$(DESTDIR)$$f" ;; \
		esac; \
	done; rm -rf $$scratch; \
	rmdir $(d_etc) $(d_share)/duet/setup/duet_setup $(d_share)/duet/setup $(d_share)/duet/bird/examples/* $(d_share)/duet/bird/* $(d_share)/duet/bird $(d_share)/duet 2>/dev/null || :

# Packages and a source archive, from what git knows, into out/dist.
dist:
	$(Q)mkdir -p $(O)/dist
	$(Q)git archive --prefix=duet-$(VERSION)/ HEAD | xz >$(O)/dist/duet-$(VERSION).tar.xz
	$(Q)cd $(O)/dist && sha256sum duet-$(VERSION).tar.xz >SHA256SUMS
	@echo $(O)/dist/duet-$(VERSION).tar.xz
deb:
	$(Q)scripts/deps --package
	$(Q)scripts/deb

.PHONY: install uninstall dist deb install-dkms install-module $(addprefix install-,$(PARTS))

## install          programs, manual pages, units, completion below PREFIX (/usr/local), DESTDIR; uninstall takes them away
## install-module   duet.ko for the running kernel; install-dkms its source for DKMS
## deb              Debian packages into out/dist; dist: a source archive
