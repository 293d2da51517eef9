// SPDX-License-Identifier: GPL-2.0
/* Addresses, prefixes and ADDRESS:PORT: text to bytes and back, and what is refused. */
#include <errno.h>
#include <string.h>

#include "addr.h"
#include "kselftest_harness.h"

TEST(text_and_back)
{
	static const struct { const char *in, *out; bool v4; } cases[] = {
		{ "10.1.2.3", "10.1.2.3", true },
		{ "0.0.0.0", "0.0.0.0", true },
		{ "255.255.255.255", "255.255.255.255", true },
		{ "::ffff:10.1.2.3", "10.1.2.3", true },
		{ "2001:DB8:0:0::1", "2001:db8::1", false },
		{ "::", "::", false },
		{ "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
		  "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", false },
	};
	char buf[ADDR_STRLEN];
	struct addr a;
	unsigned int i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		ASSERT_EQ(0, addr_parse(cases[i].in, &a));
		EXPECT_STREQ(cases[i].out, addr_str(&a, buf));
		EXPECT_EQ(cases[i].v4, addr_is_v4(&a));
	}
}

TEST(bytes)
{
	static const uint8_t four[] = { 10, 1, 2, 3 };
	static const uint8_t mapped[16] = { [10] = 0xff, 0xff, 10, 1, 2, 3 };
	const void *raw;
	struct addr a, b;
	size_t len;

	ASSERT_EQ(0, addr_parse("10.1.2.3", &a));
	EXPECT_EQ(0, memcmp(mapped, a.b, 16));
	raw = addr_raw(&a, &len);
	ASSERT_EQ(4, len);
	EXPECT_EQ(0, memcmp(four, raw, 4));
	ASSERT_EQ(0, addr_from_raw(four, 4, &b));
	EXPECT_EQ(0, addr_cmp(&a, &b));

	ASSERT_EQ(0, addr_parse("2001:db8::1", &a));
	raw = addr_raw(&a, &len);
	ASSERT_EQ(16, len);
	ASSERT_EQ(0, addr_from_raw(raw, 16, &b));
	EXPECT_EQ(0, addr_cmp(&a, &b));

	b = a;
	EXPECT_EQ(-EINVAL, addr_from_raw(raw, 5, &a));
	EXPECT_EQ(-EINVAL, addr_from_raw(raw, 0, &a));
	EXPECT_EQ(0, addr_cmp(&a, &b));
}

TEST(hosts)
{
	static const struct { const char *in, *why; } cases[] = {
		{ "1.0.0.0", NULL }, { "10.1.2.3", NULL }, { "126.255.255.255", NULL }, { "128.0.0.0", NULL },
		{ "169.253.255.255", NULL }, { "169.255.0.0", NULL }, { "223.255.255.255", NULL },
		{ "2001:db8::1", NULL }, { "fe7f::1", NULL }, { "fec0::1", NULL }, { "fd00::1", NULL },
		{ "64:ff9b::1", NULL },
		{ "0.0.0.0", "unspecified" }, { "0.255.255.255", "unspecified" }, { "::", "unspecified" },
		{ "127.0.0.1", "loopback" }, { "127.255.255.255", "loopback" }, { "::1", "loopback" },
		{ "169.254.0.0", "link-local" }, { "169.254.255.255", "link-local" }, { "fe80::", "link-local" },
		{ "febf:ffff::1", "link-local" },
		{ "224.0.0.0", "multicast" }, { "239.255.255.255", "multicast" }, { "ff00::", "multicast" },
		{ "ffff::1", "multicast" },
		{ "240.0.0.0", "reserved" }, { "255.255.255.254", "reserved" }, { "::2", "reserved" },
		{ "255.255.255.255", "broadcast" }, { "::ffff:255.255.255.255", "broadcast" },
		{ "::ffff:127.0.0.1", "loopback" },
		{ "srv1", "not an address" }, { "", "not an address" },
	};
	unsigned int i;
	struct addr a;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *why = addr_host_parse(cases[i].in, &a);

		EXPECT_EQ(!cases[i].why, !why) TH_LOG("%s", cases[i].in);
		if (why && cases[i].why)
			EXPECT_NE(NULL, strstr(why, cases[i].why)) TH_LOG("%s: %s", cases[i].in, why);
	}
}

TEST(host_prefixes)
{
	static const struct { const char *in; bool ok; } cases[] = {
		{ "203.0.113.0/24", true }, { "10.0.0.0/8", true }, { "203.0.113.1/32", true },
		{ "169.0.0.0/9", true }, { "2001:db8::/32", true }, { "fd00::/8", true }, { "2001:db8::1/128", true },
		{ "0.0.0.0/0", false }, { "::/0", false }, { "128.0.0.0/1", false }, { "8.0.0.0/7", false },
		{ "0.0.0.0/8", false }, { "127.1.0.0/16", false }, { "224.0.0.0/24", false }, { "240.0.0.0/8", false },
		{ "255.255.255.255/32", false }, { "169.0.0.0/8", false }, { "169.254.0.0/16", false },
		{ "169.254.7.0/24", false }, { "fe00::/8", false }, { "fe80::/64", false }, { "ff00::/8", false },
		{ "::/96", false }, { "::1/128", false },
	};
	unsigned int i;
	struct prefix p;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		ASSERT_EQ(0, prefix_parse(cases[i].in, &p));
		EXPECT_EQ(cases[i].ok, !prefix_not_hosts(&p)) TH_LOG("%s", cases[i].in);
	}
}

TEST(none)
{
	struct addr a = { 0 };

	EXPECT_TRUE(addr_is_none(&a));
	EXPECT_FALSE(addr_is_v4(&a));
	ASSERT_EQ(0, addr_parse("0.0.0.0", &a));
	EXPECT_FALSE(addr_is_none(&a));
}

/* IPv4 in its mapped form sorts as numbers do, and before 2000::/3 */
TEST(order)
{
	static const char *const sorted[] = {
		"::", "::1", "0.0.0.1", "9.255.255.255", "10.0.0.0", "10.0.1.0", "200.0.0.0", "2001:db8::",
	};
	struct addr a, b;
	unsigned int i, k;

	for (i = 0; i < 8; i++) {
		for (k = 0; k < 8; k++) {
			ASSERT_EQ(0, addr_parse(sorted[i], &a));
			ASSERT_EQ(0, addr_parse(sorted[k], &b));
			EXPECT_EQ(i < k, addr_cmp(&a, &b) < 0);
			EXPECT_EQ(i == k, addr_cmp(&a, &b) == 0);
		}
	}
}

TEST(no_address)
{
	static const char *const bad[] = {
		"", " ", "10.1.2", "10.1.2.256", "10.1.2.3.4", "10.1.2.3 ", " 10.1.2.3", "10.1.2.3/32",
		"010.1.2.3", "0x0a.1.2.3", "1", "tor1", "2001:db8::1::2", "2001:db8:::1", "fe80::1%eth0",
		"[::1]", "12345::", ":", "1:2:3:4:5:6:7:8:9",
	};
	struct addr a, before;
	unsigned int i;

	memset(&a, 0x5a, sizeof(a));
	before = a;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		EXPECT_EQ(-EINVAL, addr_parse(bad[i], &a)) {
			TH_LOG("\"%s\"", bad[i]);
		}
	}
	EXPECT_EQ(0, addr_cmp(&a, &before));
}

static int holds(const char *prefix, const char *addr)
{
	struct prefix p;
	struct addr a;

	if (prefix_parse(prefix, &p) || addr_parse(addr, &a))
		return -1;
	return prefix_holds(&p, &a);
}

TEST(prefixes)
{
	struct prefix p;

	ASSERT_EQ(0, prefix_parse("203.0.113.0/24", &p));
	EXPECT_EQ(24, p.len);
	ASSERT_EQ(0, prefix_parse("2001:db8::/32", &p));
	EXPECT_EQ(32, p.len);

	EXPECT_EQ(1, holds("203.0.113.0/24", "203.0.113.0"));
	EXPECT_EQ(1, holds("203.0.113.0/24", "203.0.113.255"));
	EXPECT_EQ(0, holds("203.0.113.0/24", "203.0.112.255"));
	EXPECT_EQ(0, holds("203.0.113.0/24", "203.0.114.0"));
	EXPECT_EQ(1, holds("10.128.0.0/9", "10.255.0.1"));
	EXPECT_EQ(0, holds("10.128.0.0/9", "10.127.255.255"));
	EXPECT_EQ(1, holds("10.255.0.2/31", "10.255.0.3"));
	EXPECT_EQ(0, holds("10.255.0.2/31", "10.255.0.4"));
	EXPECT_EQ(1, holds("10.1.1.1/32", "10.1.1.1"));
	EXPECT_EQ(0, holds("10.1.1.1/32", "10.1.1.0"));
	EXPECT_EQ(1, holds("0.0.0.0/0", "255.1.1.1"));
	EXPECT_EQ(1, holds("::/0", "2001:db8::1"));
	EXPECT_EQ(0, holds("::/0", "10.1.1.1"));
	EXPECT_EQ(0, holds("0.0.0.0/0", "2001:db8::1"));
	EXPECT_EQ(1, holds("2001:db8::1/128", "2001:db8::1"));
	EXPECT_EQ(0, holds("2001:db8::/127", "2001:db8::2"));
}

TEST(no_prefix)
{
	static const char *const bad[] = {
		"", "/", "10.0.0.0", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/8x", "10.0.0.0/ 8",
		"10.0.0.0/4294967304", "10.0.0.1/31", "10.128.0.0/8", "10.0.0.0/8/8", "2001:db8::1/64",
		"2001:db8::/129", "::/129", "x/8", "/8", "0.0.0.1/0",
		"0000000000000000000000000000000000000000000000000000000000000/8",
	};
	struct prefix p = { .len = 77 };
	unsigned int i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		EXPECT_EQ(-EINVAL, prefix_parse(bad[i], &p)) {
			TH_LOG("\"%s\"", bad[i]);
		}
	}
	EXPECT_EQ(77, p.len);
	EXPECT_TRUE(addr_is_none(&p.addr));
}

TEST(address_and_port)
{
	char buf[ADDR_STRLEN];
	struct addr a;
	uint16_t port;

	ASSERT_EQ(0, addr_port_parse("10.250.0.1:8470", &a, &port));
	EXPECT_STREQ("10.250.0.1", addr_str(&a, buf));
	EXPECT_EQ(8470, port);
	ASSERT_EQ(0, addr_port_parse("[2001:db8::1]:65535", &a, &port));
	EXPECT_STREQ("2001:db8::1", addr_str(&a, buf));
	EXPECT_EQ(65535, port);
	ASSERT_EQ(0, addr_port_parse("0.0.0.0:0", &a, &port));
	EXPECT_EQ(0, port);
}

TEST(no_address_and_port)
{
	static const char *const bad[] = {
		"", ":", "10.0.0.1", "10.0.0.1:", ":80", "10.0.0.1:65536", "10.0.0.1:80x", "10.0.0.1: 80",
		"10.0.0.1:-1", "[2001:db8::1]", "[2001:db8::1]80", "[2001:db8::1:80", "2001:db8::1]:80",
		"2001:db8::1", "2001:db8::1:80", "::1:80", "[10.0.0.1]:80", "[]:80", "[:80", "[", "localhost:80",
		"[0000000000000000000000000000000000000000000000000000000000000]:80",
	};
	struct addr a = { 0 };
	uint16_t port = 7;
	unsigned int i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		EXPECT_EQ(-EINVAL, addr_port_parse(bad[i], &a, &port)) {
			TH_LOG("\"%s\"", bad[i]);
		}
	}
	EXPECT_EQ(7, port);
	EXPECT_TRUE(addr_is_none(&a));
}

TEST_HARNESS_MAIN
