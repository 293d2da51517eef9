/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * Which addresses can be a VIP, a DIP or the source of a tunnel: the classes
 * that no one machine can be reached at are refused. The module, the agents,
 * the controller and the command-line tools use this one text, so they refuse
 * the same addresses with the same words.
 *
 * An address is 16 bytes in network order; an IPv4 address is mapped
 * (::ffff:a.b.c.d).
 */
#ifndef _DUET_ADDRESS_H
#define _DUET_ADDRESS_H

#include <linux/types.h>

enum duet_addr_class {
	DUET_ADDR_HOST,		/* unicast, valid beyond one link */
	DUET_ADDR_NONE,		/* 0.0.0.0/8, :: */
	DUET_ADDR_LOOPBACK,	/* 127.0.0.0/8, ::1 */
	DUET_ADDR_LINK,		/* 169.254.0.0/16, fe80::/10 */
	DUET_ADDR_MULTICAST,	/* 224.0.0.0/4, ff00::/8 */
	DUET_ADDR_RESERVED,	/* 240.0.0.0/4, ::/96 */
	DUET_ADDR_BROADCAST,	/* 255.255.255.255 */
};

static inline enum duet_addr_class duet_addr_class4(__u32 addr)
{
	if (addr >> 24 == 0)
		return DUET_ADDR_NONE;
	if (addr >> 24 == 127)
		return DUET_ADDR_LOOPBACK;
	if (addr >> 16 == (169 << 8 | 254))
		return DUET_ADDR_LINK;
	if (addr >> 28 == 14)
		return DUET_ADDR_MULTICAST;
	if (addr == 0xffffffff)
		return DUET_ADDR_BROADCAST;
	return addr >> 28 == 15 ? DUET_ADDR_RESERVED : DUET_ADDR_HOST;
}

/* duet_addr_class - the class of an address of either family */
static inline enum duet_addr_class duet_addr_class(const __u8 a[16])
{
	__u32 last = (__u32)a[12] << 24 | (__u32)a[13] << 16 | (__u32)a[14] << 8 | a[15];
	unsigned int i;

	for (i = 0; i < 10 && !a[i]; i++)
		;
	if (i == 10 && a[10] == 0xff && a[11] == 0xff)
		return duet_addr_class4(last);
	if (i == 10 && !a[10] && !a[11]) {
		if (last <= 1)
			return last ? DUET_ADDR_LOOPBACK : DUET_ADDR_NONE;
		return DUET_ADDR_RESERVED;
	}
	if (a[0] == 0xff)
		return DUET_ADDR_MULTICAST;
	return a[0] == 0xfe && (a[1] & 0xc0) == 0x80 ? DUET_ADDR_LINK : DUET_ADDR_HOST;
}

/* duet_addr_class_text - the class in a sentence "ADDRESS is ..."; NULL: of a host */
static inline const char *duet_addr_class_text(enum duet_addr_class c)
{
	switch (c) {
	case DUET_ADDR_HOST:
		break;
	case DUET_ADDR_NONE:
		return "an unspecified address (0.0.0.0/8 or ::)";
	case DUET_ADDR_LOOPBACK:
		return "a loopback address";
	case DUET_ADDR_LINK:
		return "a link-local address";
	case DUET_ADDR_MULTICAST:
		return "a multicast address";
	case DUET_ADDR_RESERVED:
		return "a reserved address (240.0.0.0/4 or ::/96)";
	case DUET_ADDR_BROADCAST:
		return "the broadcast address of every network";
	}
	return (const char *)0;
}

#endif
