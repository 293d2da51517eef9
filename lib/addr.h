/* SPDX-License-Identifier: GPL-2.0 */
/* Addresses of both families in one form: 16 bytes, IPv4 mapped. */
#ifndef DUET_LIB_ADDR_H
#define DUET_LIB_ADDR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* An IPv4 address is ::ffff:a.b.c.d, network byte order; all zero is "none". */
struct addr {
	uint8_t b[16];
};

#define ADDR_STRLEN 46

/* addr_parse - "10.1.2.3" or "2001:db8::1"; returns 0 or -EINVAL, *a then untouched */
int addr_parse(const char *s, struct addr *a);
/* addr_str - text form in buf (ADDR_STRLEN bytes), returns buf */
const char *addr_str(const struct addr *a, char *buf);
bool addr_is_v4(const struct addr *a);
bool addr_is_none(const struct addr *a);
/* addr_not_host - why no machine can be reached at a, to follow "it is"; NULL: one can
 * (include/duet/address.h has the classes)
 */
const char *addr_not_host(const struct addr *a);
/* addr_host_parse - addr_parse() of what a machine can be reached at; NULL, or why it isn't */
const char *addr_host_parse(const char *s, struct addr *a);
int addr_cmp(const struct addr *a, const struct addr *b);
/* addr_raw - the 4 or 16 bytes as netlink wants them, *len set */
const void *addr_raw(const struct addr *a, size_t *len);
/* addr_from_raw - len 4 or 16; returns 0 or -EINVAL */
int addr_from_raw(const void *raw, size_t len, struct addr *a);

/* A prefix "203.0.113.0/24"; host bits must be 0. len counts in the address's family. */
struct prefix {
	struct addr addr;
	unsigned int len;
};

int prefix_parse(const char *s, struct prefix *p);
/* host_prefix - a/32 or a/128 */
struct prefix host_prefix(const struct addr *a);
bool prefix_holds(const struct prefix *p, const struct addr *a);
/* prefix_not_hosts - why p can't be a prefix of VIPs: it is, or has in it, what no
 * machine can be reached at; NULL: it can
 */
const char *prefix_not_hosts(const struct prefix *p);

/* prefixes_allow - is p in one of n prefixes? Yes if there are none */
bool prefixes_allow(const struct prefix *list, unsigned int n, const struct prefix *p);
/* mux_prefix_refused - why the addresses of p can't be the sources of one mux's tunnels, to follow "it is"; NULL: they can */
const char *mux_prefix_refused(const struct prefix *p);

/* "10.250.0.1:8470", "[2001:db8::1]:8470" */
int addr_port_parse(const char *s, struct addr *a, uint16_t *port);

#endif
